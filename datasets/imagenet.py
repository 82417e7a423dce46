"""ImageNet-1000 (Russakovsky et al., IJCV 2015) and two lists of 100 of its classes, which share nine and are not one.

`imagenet100` is LUCIR's and FOSTER's list, `imagenet100-first` that of PODNet, DER and Continuum. What the three
sources share is here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from cimbench.datasets.archives import TarFiles, open_files
from cimbench.datasets.catalogue import Catalogue
from cimbench.datasets.errors import InputError
from cimbench.datasets.fetch import Advance, ArchiveParameters, expanded, fetch_archive
from cimbench.datasets.files import Files, FolderFiles

CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class ImageNetParameters:
    """The official files, or a tree of train/<synset>/ and val/<synset>/ as others have unpacked it.

    train, val: ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar. devkit: ILSVRC2012_devkit_t12.tar.gz, which has the
    synsets and the validation pictures' classes. folder: instead of the three. train_boxes, val_boxes: archives of
    people's object boxes (ILSVRC2012_bbox_train_v2.tar.gz, ILSVRC2012_bbox_val_v3.tgz), or None.
    """

    train: ArchiveParameters | None = None
    val: ArchiveParameters | None = None
    devkit: ArchiveParameters | None = None
    folder: str | None = None
    train_boxes: ArchiveParameters | None = None
    val_boxes: ArchiveParameters | None = None

    def __post_init__(self) -> None:
        archives = (self.train, self.val, self.devkit)
        if self.folder is None and None in archives:
            raise InputError("dataset.parameters: give train, val and devkit, or folder")
        if self.folder is not None and archives != (None, None, None):
            raise InputError("dataset.parameters: give train, val and devkit, or folder, not both")


@dataclass(frozen=True)
class _Picture:
    """name: in the data set. files, member: where its bytes are."""

    name: str
    synset: str
    is_test: bool
    files: Files
    member: str


def first_hundred(synsets: Sequence[str]) -> list[str]:
    """The first hundred sorted ids."""
    return sorted(synsets)[:100]


def drawn_hundred(synsets: Sequence[str]) -> list[str]:
    """NumPy's legacy generator, seed 1993, over the sorted ids; sorted again, since labels follow the sorted ids."""
    ordered = sorted(synsets)
    return [ordered[place] for place in sorted(np.random.RandomState(1993).permutation(CLASSES)[:100].tolist())]


VIEWS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "imagenet1000": sorted,
    "imagenet100": drawn_hundred,
    "imagenet100-first": first_hundred,
}


def _chosen(view: str, synsets: Sequence[str], origin: str) -> list[str]:
    """The view's synsets, sorted; InputError unless the data have all thousand, by which the lists are defined."""
    if len(synsets) != CLASSES:
        raise InputError(
            f"{origin}: has {len(synsets)} classes instead of {CLASSES}, so it is not ILSVRC2012; check it"
        )
    return VIEWS[view](synsets)


def read_imagenet(parameters: ImageNetParameters, folder: Path, progress: Advance, view: str) -> Catalogue:
    """The pictures of one of VIEWS, sorted by part, synset and name: the same from tars and from a tree."""
    if parameters.folder is not None:
        pictures, words, version = _from_tree(Path(expanded(parameters.folder)), view)
        origin = parameters.folder
    else:
        pictures, words, version, origin = _from_archives(parameters, folder, progress, view)
    synsets = sorted(words)
    label = {synset: number for number, synset in enumerate(synsets)}
    pictures.sort(key=lambda picture: (picture.is_test, label[picture.synset], picture.name))
    return Catalogue(
        origin=f"{origin} ({view})",
        version=f"{view} {version}",
        class_names=tuple(f"{synset} {words[synset]}".strip() for synset in synsets),
        names=tuple(picture.name for picture in pictures),
        labels=torch.tensor([label[picture.synset] for picture in pictures]),
        is_test=torch.tensor([picture.is_test for picture in pictures]),
        boxes=_boxes(parameters, pictures, folder, progress),
        content=lambda index: pictures[index].files.read(pictures[index].member),
    )


def _from_tree(root: Path, view: str) -> tuple[list[_Picture], dict[str, str], str]:
    """Of a tree of class folders."""
    files = FolderFiles(root)
    parts: dict[str, list[_Picture]] = {"train": [], "val": []}
    for name in files.names:
        part, _, rest = name.partition("/")
        if part in parts and rest.count("/") == 1:
            parts[part].append(_Picture(name, rest.partition("/")[0], part == "val", files, name))
    synsets = {part: {picture.synset for picture in pictures} for part, pictures in parts.items()}
    if synsets["train"] != synsets["val"]:
        odd = sorted(synsets["train"] ^ synsets["val"])
        raise InputError(
            f"{root}: train/ and val/ have different classes, {len(odd)} are in one alone: {', '.join(odd[:10])}; "
            "val/ needs a folder for each class, as train/ has"
        )
    chosen = set(_chosen(view, sorted(synsets["train"]), str(root)))
    kept = [picture for pictures in parts.values() for picture in pictures if picture.synset in chosen]
    return kept, dict.fromkeys(chosen, ""), files.listing_digest


def _from_archives(
    parameters: ImageNetParameters, folder: Path, progress: Advance, view: str
) -> tuple[list[_Picture], dict[str, str], str, str]:
    """Of the official tars; the validation pictures' classes are the devkit's."""
    assert parameters.train is not None and parameters.val is not None and parameters.devkit is not None
    fetched = [fetch_archive(part, folder, progress) for part in (parameters.devkit, parameters.train, parameters.val)]
    devkit, train, val = (open_files(path, folder, progress) for path in fetched)
    words, truth = read_devkit(devkit)
    chosen = set(_chosen(view, sorted(words), str(fetched[0])))
    tars = {PurePosixPath(name).stem: name for name in train.names if name.endswith(".tar")}
    absent = sorted(chosen - tars.keys())
    if absent or not isinstance(train, TarFiles):
        raise InputError(f"{fetched[1]}: has no tar of {', '.join(absent[:10])}; is it ILSVRC2012_img_train.tar?")
    pictures = []
    for synset in sorted(chosen):
        inner = train.inside(tars[synset])
        pictures += [_Picture(f"train/{synset}/{name}", synset, False, inner, name) for name in inner.names]
    listed = [name for name in val.names if name.upper().endswith(".JPEG")]
    if len(listed) != len(truth):
        raise InputError(
            f"{fetched[2]}: has {len(listed)} pictures, the devkit knows {len(truth)}; check both archives"
        )
    pictures += [
        _Picture(f"val/{synset}/{PurePosixPath(name).name}", synset, True, val, name)
        for name, synset in zip(listed, truth, strict=True)
        if synset in chosen
    ]
    version = " ".join(part.checksum for part in (parameters.train, parameters.val, parameters.devkit))
    return pictures, {synset: words[synset] for synset in chosen}, version, str(fetched[1])


def read_devkit(files: Files) -> tuple[dict[str, str], list[str]]:
    """Synsets of the thousand classes -> their first word; and the validation pictures' synsets, in order."""
    from scipy.io import loadmat

    place = {PurePosixPath(name).name: name for name in files.names}
    needed = ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
    absent = [name for name in needed if name not in place]
    if absent:
        raise InputError(f"{files.origin}: has no {', '.join(absent)}; is it ILSVRC2012_devkit_t12.tar.gz?")
    table = loadmat(io.BytesIO(files.read(place[needed[0]])), squeeze_me=True)["synsets"]
    leaves = {int(row["ILSVRC2012_ID"]): row for row in np.atleast_1d(table) if int(row["num_children"]) == 0}
    words = {str(row["WNID"]): str(row["words"]).split(",")[0] for row in leaves.values()}
    numbers = files.read(place[needed[1]]).decode().split()
    return words, [str(leaves[int(number)]["WNID"]) for number in numbers]


def _boxes(parameters: ImageNetParameters, pictures: list[_Picture], folder: Path, progress: Advance) -> Tensor:
    """The tight rectangle around all of a picture's object boxes, -1 where it has none; (0, 4) without archives."""
    archives = [part for part in (parameters.train_boxes, parameters.val_boxes) if part is not None]
    if not archives:
        return torch.empty(0, 4, dtype=torch.int64)
    found: dict[str, tuple[int, int, int, int]] = {}
    wanted = {PurePosixPath(picture.name).stem for picture in pictures}
    for part in archives:
        files = open_files(fetch_archive(part, folder, progress), folder, progress)
        for name in files.names:
            stem = PurePosixPath(name).stem
            if name.endswith(".xml") and stem in wanted:
                found[stem] = around(files.read(name), f"{files.origin}: {name}")
    return torch.tensor([found.get(PurePosixPath(picture.name).stem, (-1,) * 4) for picture in pictures])


def around(annotation: bytes, origin: str) -> tuple[int, int, int, int]:
    """The rectangle around all boxes of an annotation in PASCAL VOC's form, XYXY with exclusive ends."""
    edges = {
        edge: [int(value) for value in re.findall(rb"<%b>\s*(\d+)(?:\.\d*)?\s*</%b>" % (edge, edge), annotation)]
        for edge in (b"xmin", b"ymin", b"xmax", b"ymax")
    }
    if not edges[b"xmin"] or len({len(values) for values in edges.values()}) > 1:
        raise InputError(f"{origin}: has no whole object box; get the archive of boxes again")
    return min(edges[b"xmin"]), min(edges[b"ymin"]), max(edges[b"xmax"]), max(edges[b"ymax"])
