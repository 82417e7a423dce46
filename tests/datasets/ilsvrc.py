"""ILSVRC2012 in little: its archives and their tree, with a thousand classes of a few tiny pictures."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from cimbench.datasets.fetching.fetch import ArchiveParameters
from cimbench.datasets.reading.imagenet import ImageNetParameters
from tests.conftest import GOLDEN
from tests.datasets.archives import picture

GOLDEN_LISTS: dict[str, Any] = json.loads((GOLDEN / "class_orders.json").read_text())["imagenet100"]
PICTURES = [picture(seed, 9 + seed, 8 + seed % 3) for seed in range(7)]
ABOVE = ["n00001740", "n00001930", "n15000000"]  # synsets that are no classes


def thousand(known: Iterable[str] = ()) -> list[str]:
    """A thousand sorted ids: LUCIR's hundred at their own places, `known` among the others, which are made up."""
    fixed = dict(zip(GOLDEN_LISTS["index_sorted"], GOLDEN_LISTS["wnids_sorted"], strict=True))
    anchors = [(-1, 1440000), *((place, int(fixed[place][1:])) for place in sorted(fixed)), (1000, 13999999)]
    numbers: list[int] = []
    for (before, low), (after, high) in pairwise(anchors):
        real = [n for n in (int(name[1:]) for name in known) if low < n < high]
        made = (n for n in range(low + 1, high) if n not in real)
        between = sorted(real + [next(made) for _ in range(after - before - 1 - len(real))])
        numbers += [*between, high]
    return [f"n{number:08d}" for number in numbers[:-1]]


@dataclass
class Mini:
    """What is in the archives. train: synset -> names -> bytes. val: names -> bytes. truth: their synsets."""

    synsets: list[str]
    train: dict[str, dict[str, bytes]] = field(default_factory=dict)
    val: dict[str, bytes] = field(default_factory=dict)
    truth: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, known: Iterable[str] = (), per_class: int = 2) -> Mini:
        """Of `per_class` training pictures and one for validation a class, in no order."""
        mini = cls(thousand(known))
        for place, synset in enumerate(mini.synsets):
            names = [f"{synset}_{10 * place + i}.JPEG" for i in range(per_class)]
            mini.train[synset] = {name: PICTURES[(place + i) % 7] for i, name in enumerate(names)}
        mini.truth = random.Random(3).sample(mini.synsets, 1000)
        for place in range(1000):
            mini.val[f"ILSVRC2012_val_{place + 1:08d}.JPEG"] = PICTURES[place % 7]
        return mini

    def numbers(self) -> dict[str, int]:
        """The devkit's own numbers of the classes, which follow no order of ids."""
        return {synset: number + 1 for number, synset in enumerate(random.Random(5).sample(self.synsets, 1000))}


def tar_bytes(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar of the files, in their order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def meta_mat(mini: Mini) -> bytes:
    """The devkit's table, with its official fields."""
    names = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
    names += ("num_train_images",)
    rows = [(n, s, f"thing {n}, other", "a thing", 0, np.zeros(0), 0, 2) for s, n in mini.numbers().items()]
    rows += [(1001 + i, s, "all", "it", 2, np.array([1, 2]), 9, 0) for i, s in enumerate(ABOVE)]
    random.Random(7).shuffle(rows)
    table = np.array(rows, dtype=[(name, object) for name in names]).reshape(-1, 1)
    file = io.BytesIO()
    savemat(file, {"synsets": table})
    return file.getvalue()


def devkit(mini: Mini) -> dict[str, bytes]:
    """The devkit's files."""
    numbers = mini.numbers()
    truth = "".join(f"{numbers[synset]}\n" for synset in mini.truth)
    root = "ILSVRC2012_devkit_t12"
    return {
        f"{root}/readme.txt": b"hello",
        f"{root}/data/meta.mat": meta_mat(mini),
        f"{root}/data/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }


def write_archives(mini: Mini, folder: Path, backwards: bool = False) -> ImageNetParameters:
    """The three official archives in `folder`; backwards: with their members in another order."""

    def ordered(files: Mapping[str, bytes]) -> dict[str, bytes]:
        return {name: files[name] for name in sorted(files, reverse=backwards)}

    inner = {f"{synset}.tar": tar_bytes(ordered(files)) for synset, files in mini.train.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ILSVRC2012_img_train.tar").write_bytes(tar_bytes(ordered(inner)))
    (folder / "ILSVRC2012_img_val.tar").write_bytes(tar_bytes(ordered(mini.val)))
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(tar_bytes(devkit(mini), "w:gz"))
    return parameters(folder)


def parameters(folder: Path, **rest: str) -> ImageNetParameters:
    """Of the archives in `folder`."""
    names = {"train": "img_train.tar", "val": "img_val.tar", "devkit": "devkit_t12.tar.gz"}
    paths = {part: str(folder / f"ILSVRC2012_{name}") for part, name in names.items()} | rest
    return ImageNetParameters(**{part: ArchiveParameters(mirrors=(path,)) for part, path in paths.items()})


def write_tree(mini: Mini, folder: Path) -> ImageNetParameters:
    """The same data as others unpack them."""
    for synset, files in reversed(mini.train.items()):
        for part in ("train", "val"):
            (folder / part / synset).mkdir(parents=True)
        for name, content in files.items():
            (folder / "train" / synset / name).write_bytes(content)
    for (name, content), synset in zip(mini.val.items(), mini.truth, strict=True):
        (folder / "val" / synset / name).write_bytes(content)
    return ImageNetParameters(folder=str(folder))


def annotation(*boxes: tuple[int, int, int, int]) -> bytes:
    """PASCAL VOC's XML, as ImageNet's archives have it."""
    edges = ("xmin", "ymin", "xmax", "ymax")
    lines = ["".join(f"<{e}>{v}</{e}>\n\t\t\t" for e, v in zip(edges, box, strict=True)) for box in boxes]
    objects = "".join(f"\t<object>\n\t\t<bndbox>\n\t\t\t{line}</bndbox>\n\t</object>\n" for line in lines)
    return f"<annotation>\n\t<size><width>500</width></size>\n{objects}</annotation>\n".encode()
