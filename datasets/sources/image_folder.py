"""Anyone's pictures: a folder, or an archive, with one folder a class; split by its own folders or by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cimbench.datasets.errors import InputError, printable
from cimbench.datasets.fetching.fetch import ArchiveParameters, expanded, fetch_archive
from cimbench.datasets.progress import Advance
from cimbench.datasets.reading.archives import open_files, version_of
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.class_folders import Picture, catalogue_of, class_folders, drawn
from cimbench.datasets.reading.files import Files, FolderFiles


@dataclass(frozen=True, kw_only=True)
class ImageFolderParameters:
    """folder: a path ($CIMBENCH_SHARED is filled in), or archive: one that holds it; one of the two.

    train, test: names of the two folders of class folders. Where test is None, class folders lie in the folder itself
    (or in `train`, where that is given), and of each class the share `test_share`, drawn by `seed`, is for testing.
    """

    folder: str | None = None
    archive: ArchiveParameters | None = None
    train: str | None = "train"
    test: str | None = "val"
    test_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.archive is None):
            raise InputError("dataset.parameters: give either folder or archive")
        if self.test is not None and self.train is None:
            raise InputError("dataset.parameters.train is null and test is not; name both, or set both to null")
        if not 0 < self.test_share < 1:
            raise InputError(f"dataset.parameters.test_share is {self.test_share}; give more than 0, less than 1")


def catalogue(parameters: ImageFolderParameters, folder: Path, progress: Advance) -> Catalogue:
    """Every picture in the class folders; other files are passed over."""
    if parameters.folder is not None:
        files: Files = FolderFiles(Path(expanded(parameters.folder)))
        version = files.listing_digest
    else:
        assert parameters.archive is not None
        archive = fetch_archive(parameters.archive, folder, progress)
        files, version = open_files(archive, folder, progress), version_of(parameters.archive, archive)
    train = class_folders(files, parameters.train)
    if parameters.test is None:
        return split_by_seed(files, train, version, parameters.test_share, parameters.seed)
    test = class_folders(files, parameters.test)
    if train.keys() != test.keys():
        only = {"train": sorted(train.keys() - test.keys()), "test": sorted(test.keys() - train.keys())}
        told = "; ".join(f"only in {p}: {', '.join(map(printable, n[:10]))}" for p, n in only.items() if n)
        raise InputError(f"{files.origin}: training and test folders have different classes; {told}")
    items = [(name, label, part is test) for part in (train, test) for label, c in enumerate(train) for name in part[c]]
    return catalogue_of(files, tuple(train), items, version)


def split_by_seed(
    files: Files, classes: dict[str, list[Picture]], version: str, test_share: float, seed: int
) -> Catalogue:
    """Training pictures first; each class's draw depends on its own name and count alone."""
    alone = [printable(name) for name, pictures in classes.items() if len(pictures) < 2]
    if alone:
        raise InputError(f"{files.origin}: one picture cannot be split into training and test: {', '.join(alone[:10])}")
    items = []
    for label, (name, pictures) in enumerate(classes.items()):
        tests = drawn(len(pictures), test_share, seed, name).tolist()
        items += [(picture, label, test) for picture, test in zip(pictures, tests, strict=True)]
    return catalogue_of(files, tuple(classes), sorted(items, key=lambda item: item[2]), version)
