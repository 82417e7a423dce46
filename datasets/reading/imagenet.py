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

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters, expanded, fetch_archive
from cimbench.datasets.progress import Advance
from cimbench.datasets.reading.annotations import NO_BOX, Box, boxes_of
from cimbench.datasets.reading.archives import TarFiles, open_files, version_of
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.class_folders import is_picture
from cimbench.datasets.reading.files import Files, FolderFiles

CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class ImageNetParameters:
    """The official files, or a tree of train/<synset>/ and val/<synset>/ as others have unpacked it: the same data.

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


@dataclass(frozen=True, slots=True)
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
    """The pictures of one of VIEWS, sorted by part, synset and name: the same from tars and from a tree.

    Classes are called by their synset ids, and labels follow the sorted ids.
    """
    if parameters.folder is not None:
        pictures, version = _from_tree(Path(expanded(parameters.folder)), view)
        origin = parameters.folder
    else:
        pictures, version, origin = _from_archives(parameters, folder, progress, view)
    synsets = sorted({picture.synset for picture in pictures})
    label = {synset: number for number, synset in enumerate(synsets)}
    pictures.sort(key=lambda picture: (picture.is_test, picture.synset, picture.name))
    return Catalogue(
        origin=f"{origin} ({view})",
        version=f"{view} {version}",
        class_names=tuple(synsets),
        names=tuple(picture.name for picture in pictures),
        labels=torch.tensor([label[picture.synset] for picture in pictures]),
        is_test=torch.tensor([picture.is_test for picture in pictures]),
        boxes=_boxes(parameters, pictures, folder, progress),
        content=lambda index: pictures[index].files.read(pictures[index].member),
    )


def _from_tree(root: Path, view: str) -> tuple[list[_Picture], str]:
    """Of a tree of class folders."""
    files = FolderFiles(root)
    parts: dict[str, list[_Picture]] = {"train": [], "val": []}
    loose = 0
    for name in filter(is_picture, files.names):
        part, _, rest = name.partition("/")
        if part in parts and rest.count("/") == 1:
            parts[part].append(_Picture(name, rest.partition("/")[0], part == "val", files, name))
        loose += part == "val" and "/" not in rest
    synsets = {part: {picture.synset for picture in pictures} for part, pictures in parts.items()}
    if loose:
        raise InputError(f"{root}: {loose} pictures lie in val/ itself; sort them into a folder for each class")
    for part, there in synsets.items():
        if not there:
            raise InputError(f"{root}: has no pictures in {part}/<synset>/; name the folder that holds train/ and val/")
    if synsets["train"] != synsets["val"]:
        odd = sorted(synsets["train"] ^ synsets["val"])
        raise InputError(
            f"{root}: train/ and val/ have different classes, {len(odd)} are in one alone: {', '.join(odd[:10])}; "
            "val/ needs a folder for each class, as train/ has"
        )
    chosen = set(_chosen(view, sorted(synsets["train"]), str(root)))
    kept = [picture for pictures in parts.values() for picture in pictures if picture.synset in chosen]
    return kept, files.listing_digest


def _from_archives(
    parameters: ImageNetParameters, folder: Path, progress: Advance, view: str
) -> tuple[list[_Picture], str, str]:
    """Of the official tars; the validation pictures' classes are the devkit's."""
    parts = [part for part in (parameters.devkit, parameters.train, parameters.val) if part is not None]
    fetched = [fetch_archive(part, folder, progress) for part in parts]
    devkit, train, val = (open_files(path, folder, progress) for path in fetched)
    synsets, truth = read_devkit(devkit)
    chosen = _chosen(view, synsets, str(fetched[0]))
    pictures = [*_training(train, chosen), *_validation(val, truth, set(chosen))]
    version = " ".join(version_of(part, path) for part, path in zip(parts, fetched, strict=True))
    return pictures, version, str(fetched[1])


def _training(train: Files, chosen: Sequence[str]) -> list[_Picture]:
    """Of the tar of one tar a synset."""
    tars = {PurePosixPath(name).stem: name for name in train.names if name.endswith(".tar")}
    absent = [synset for synset in chosen if synset not in tars]
    if absent or not isinstance(train, TarFiles):
        told = f"has no tar of {', '.join(absent[:10])}" if absent else "is no tar"
        raise InputError(f"{train.origin}: {told}; is it ILSVRC2012_img_train.tar?")
    pictures = []
    for synset in chosen:
        inner = train.inside(tars[synset])
        members = filter(is_picture, inner.names)
        pictures += [_Picture(f"train/{synset}/{_base(name)}", synset, False, inner, name) for name in members]
    return pictures


def _validation(val: Files, truth: Sequence[str], chosen: set[str]) -> list[_Picture]:
    """Of the flat tar; a picture's number in its name is its place in the devkit's list."""
    listed = {name: re.search(r"_(\d{8})\.JPEG$", name) for name in val.names if is_picture(name)}
    numbers = {name: int(match[1]) for name, match in listed.items() if match}
    if len(numbers) < len(listed) or sorted(numbers.values()) != list(range(1, len(truth) + 1)):
        raise InputError(
            f"{val.origin}: has {len(listed)} pictures, the devkit knows {len(truth)}, from "
            "ILSVRC2012_val_00000001.JPEG on; check both archives"
        )
    found = ((name, truth[number - 1]) for name, number in numbers.items())
    return [_Picture(f"val/{s}/{_base(name)}", s, True, val, name) for name, s in found if s in chosen]


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def read_devkit(files: Files) -> tuple[list[str], list[str]]:
    """The synsets of the classes, sorted; and the validation pictures' synsets, in order.

    Its table has the synsets above the classes too; those have children.
    """
    place = {_base(name): name for name in files.names}
    needed = ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
    absent = [name for name in needed if name not in place]
    if absent:
        raise InputError(f"{files.origin}: has no {', '.join(absent)}; is it ILSVRC2012_devkit_t12.tar.gz?")
    synset = _classes(files.read(place[needed[0]]), f"{files.origin}: meta.mat")
    numbers = files.text(place[needed[1]]).split()
    strange = [number for number in numbers if number not in synset]
    if strange:
        told = f"names {len(strange)} classes that meta.mat does not have: {', '.join(strange[:10])}"
        raise InputError(f"{files.origin}: {needed[1]} {told}; get the devkit again")
    return sorted(synset.values()), [synset[number] for number in numbers]


def _classes(table: bytes, origin: str) -> dict[str, str]:
    """The devkit's number of a class, as it is written -> its synset."""
    from scipy.io import loadmat

    try:
        rows = np.atleast_1d(loadmat(io.BytesIO(table), squeeze_me=True)["synsets"])
        return {str(int(row["ILSVRC2012_ID"])): str(row["WNID"]) for row in rows if int(row["num_children"]) == 0}
    except Exception as error:  # a reader of broken files raises anything
        raise InputError(f"{origin}: is no table of synsets ({error}); get the devkit again") from error


def _boxes(parameters: ImageNetParameters, pictures: list[_Picture], folder: Path, progress: Advance) -> Tensor:
    """(N, 4), the rectangle around all of a picture's object boxes, -1 where it has none; (0, 4) without archives."""
    archives = [part for part in (parameters.train_boxes, parameters.val_boxes) if part is not None]
    if not archives:
        return torch.empty(0, 4, dtype=torch.int64)
    stems = [PurePosixPath(picture.name).stem for picture in pictures]
    found: dict[str, Box] = {}
    for part in archives:
        files = open_files(fetch_archive(part, folder, progress), folder, progress)
        found |= boxes_of(files, set(stems))
    if not found:
        raise InputError("dataset.parameters.train_boxes and val_boxes: none of their boxes is of these pictures")
    return torch.tensor([found.get(stem, NO_BOX) for stem in stems])
