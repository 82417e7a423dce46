"""Pictures in one folder a class, in the order of their names: what several sources have."""

from __future__ import annotations

from pathlib import PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from cimbench.datasets.catalogue import Catalogue
from cimbench.datasets.errors import InputError
from cimbench.datasets.files import Files
from cimbench.datasets.randomness import generator


def class_folders(files: Files, part: str | None) -> dict[str, list[str]]:
    """Class names, sorted -> their pictures, sorted; of the folder `part`, or of the topmost one that has any files."""
    if part is None:
        within = _topmost(files)
    else:
        within = sorted((f for f in files.folders if PurePosixPath(f).name == part), key=lambda f: f.count("/"))[:1]
        if not within:
            raise InputError(f"{files.origin}: there is no folder {part}; check dataset.parameters.train and test")
    root = f"{within[0]}/" if within and within[0] else ""
    classes = sorted(f.removeprefix(root) for f in files.folders if f.startswith(root) and "/" not in f[len(root) :])
    known = Image.registered_extensions()
    found: dict[str, list[str]] = {name: [] for name in classes if not name.startswith(".")}
    for name in files.names:
        owner, _, rest = name.removeprefix(root).partition("/")
        hidden = any(piece.startswith(".") for piece in PurePosixPath(name).parts)
        if name.startswith(root) and rest and not hidden and PurePosixPath(name).suffix.lower() in known:
            found[owner].append(name)
    if not found:
        raise InputError(f"{files.origin}: there are no class folders in {root or 'it'}; give each class a folder")
    empty = [name for name, pictures in found.items() if not pictures]
    if empty:
        raise InputError(
            f"{files.origin}: no pictures in {len(empty)} class folders of {root or 'it'}: {', '.join(empty[:10])}; "
            "add some, or remove these folders"
        )
    return found


def _topmost(files: Files) -> list[str]:
    """The folder that holds the class folders: the only one at the top, if it has folders of its own."""
    tops = {name.partition("/")[0] for name in files.names if "/" in name}
    only = next(iter(tops)) if len(tops) == 1 else ""
    return [only] if only and any(f.startswith(f"{only}/") for f in files.folders) else [""]


def drawn(count: int, test_share: float, seed: int, name: str) -> Tensor:
    """(count,) bool, whether a class's pictures are for testing: at least one is, and one is not."""
    tests = min(max(1, round(test_share * count)), count - 1)
    order = torch.randperm(count, generator=generator(seed, "test pictures", name))
    return torch.zeros(count, dtype=torch.bool).index_fill_(0, order[:tests], True)


def catalogue_of(
    files: Files, class_names: tuple[str, ...], items: list[tuple[str, int, bool]], version: str
) -> Catalogue:
    """Of files with their labels, and whether they are for testing."""
    return Catalogue(
        origin=str(files.origin),
        version=version,
        class_names=class_names,
        names=tuple(name for name, _, _ in items),
        labels=torch.tensor([label for _, label, _ in items]),
        is_test=torch.tensor([test for _, _, test in items]),
        content=lambda index: files.read(items[index][0]),
    )
