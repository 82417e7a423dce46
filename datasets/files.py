"""Files by their names, wherever they lie: what the sources of data sets read from."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from cimbench.datasets.errors import InputError

FILE_LIMIT = 1 << 28  # bytes of one file; the largest picture of ImageNet has 16 MB


class Files(ABC):
    """Named files. origin: what they are in, for messages."""

    origin: Path

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """All names, sorted; parts joined by "/"."""

    @property
    @abstractmethod
    def folders(self) -> set[str]:
        """All folders, empty ones too."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content; KeyError for a name that is not there."""

    @abstractmethod
    def size(self, name: str) -> int:
        """A file's bytes, by what is said of it; KeyError for a name that is not there."""

    @property
    def listing_digest(self) -> str:
        """sha256 over names and sizes: what tells one folder from another without reading it."""
        listing = "".join(f"{name}\0{self.size(name)}\0" for name in self.names)
        return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def without_top(self) -> dict[str, str]:
        """Names without their first folder, which archives have -> the whole names."""
        return {name.partition("/")[2]: name for name in self.names}


def with_parents(folders: Iterable[str], names: Iterable[str]) -> set[str]:
    """The folders, those that names lie in, and all above them."""
    lowest = {PurePosixPath(folder) for folder in folders} | {PurePosixPath(name).parent for name in names}
    return {path.as_posix() for folder in lowest for path in (folder, *folder.parents)} - {"."}


class FolderFiles(Files):
    """All files below a folder; links to files elsewhere are followed, since the folder is the user's own."""

    def __init__(self, folder: Path) -> None:
        self.origin = folder
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; name the one that holds the images")
        found, folders = [], []
        for root, below, names in os.walk(folder, followlinks=True):
            here = Path(root).relative_to(folder)
            found += [(here / name).as_posix() for name in names]
            folders += [(here / name).as_posix() for name in below]
        self._names, self._folders = sorted(found), set(folders)

    @property
    def names(self) -> Sequence[str]:
        """Relative to the folder."""
        return self._names

    @property
    def folders(self) -> set[str]:
        """Relative to the folder."""
        return self._folders

    def size(self, name: str) -> int:
        """Of the file as it is now."""
        return (self.origin / name).stat().st_size

    def read(self, name: str) -> bytes:
        """The file as it is now."""
        check_size(self, name)
        return (self.origin / name).read_bytes()


def check_size(files: Files, name: str) -> None:
    """Raise InputError for a file that no picture and no list is as large as."""
    size = files.size(name)
    if size > FILE_LIMIT:
        raise InputError(
            f"{files.origin}: {name} has {size / 1e6:,.0f} MB, and no picture or list has more than "
            f"{FILE_LIMIT / 1e6:,.0f} MB; leave it out, or get the archive from its official source"
        )
