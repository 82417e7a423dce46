"""Pictures in one folder a class, in the order of their names: what several sources have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError, printable
from cimbench.datasets.randomness import generator
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.files import Files, is_hidden


@dataclass(frozen=True, slots=True)
class Picture:
    """name: below the folder of the data set, the same wherever that lies. member: where its bytes are."""

    name: str
    member: str


def class_folders(files: Files, part: str | None) -> dict[str, list[Picture]]:
    """Class names, sorted -> their pictures, sorted; of the folder `part`, or of the one that holds the class folders.

    `part` may lie below other folders, as it does in archives. Hidden files and other kinds of files are passed over.
    """
    root = _topmost(files) if part is None else _folder(files, part)
    start = f"{root}/" if root else ""
    below = (f[len(start) :] for f in files.folders if f.startswith(start) and not is_hidden(f[len(start) :]))
    found: dict[str, list[Picture]] = {name: [] for name in sorted(name for name in below if "/" not in name)}
    if not found:
        raise InputError(f"{files.origin}: there are no class folders in {root or 'it'}; give each class a folder")
    for member in files.names:
        name = member[len(start) :]
        owner, _, rest = name.partition("/")
        if rest and member.startswith(start) and is_picture(name):
            found[owner].append(Picture(name if part is None else f"{part}/{name}", member))
    empty = [printable(name) for name, pictures in found.items() if not pictures]
    if empty:
        raise InputError(
            f"{files.origin}: no pictures in {len(empty)} class folders of {root or 'it'}: {_first(empty)}; "
            "add some, or remove these folders"
        )
    return found


def is_picture(name: str) -> bool:
    """Whether a file looks like a picture by its name."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _folder(files: Files, part: str) -> str:
    """The folder of that name which lies highest."""
    found = [f for f in files.folders if (f == part or f.endswith(f"/{part}")) and not is_hidden(f)]
    highest = sorted(f for f in found if f.count("/") == min(f.count("/") for f in found))
    if not highest:
        raise InputError(f"{files.origin}: there is no folder {part}; check dataset.parameters.train and test")
    if len(highest) > 1:
        told = f"{len(highest)} folders are called {part}: {_first([printable(f) for f in highest])}"
        raise InputError(f"{files.origin}: {told}; name it with more of its path in dataset.parameters")
    return highest[0]


def _topmost(files: Files) -> str:
    """The folder that holds the class folders: the only one at the top, if it has folders of its own."""
    tops = {name.partition("/")[0] for name in files.names if "/" in name and not is_hidden(name)}
    only = next(iter(tops)) if len(tops) == 1 else ""
    inner = [f for f in files.folders if only and f.startswith(f"{only}/") and not is_hidden(f)]
    return only if inner else ""


def drawn(count: int, test_share: float, seed: int, name: str) -> Tensor:
    """(count,) bool, whether a class's pictures are for testing: at least one is, and one is not."""
    tests = min(max(1, round(test_share * count)), count - 1)
    order = torch.randperm(count, generator=generator(seed, "test pictures", name))
    return torch.zeros(count, dtype=torch.bool).index_fill_(0, order[:tests], True)


def catalogue_of(
    files: Files, class_names: tuple[str, ...], items: list[tuple[Picture, int, bool]], version: str
) -> Catalogue:
    """Of pictures with their labels, and whether they are for testing."""
    return Catalogue(
        origin=str(files.origin),
        version=version,
        class_names=class_names,
        names=tuple(picture.name for picture, _, _ in items),
        labels=torch.tensor([label for _, label, _ in items]),
        is_test=torch.tensor([test for _, _, test in items]),
        content=lambda index: files.read(items[index][0].member),
    )


SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
