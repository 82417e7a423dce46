"""Files by their names, wherever they lie: what the sources of data sets read from."""

from __future__ import annotations

import hashlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from cimbench.datasets.errors import InputError, printable

FILE_LIMIT = 1 << 28  # bytes of one file; the largest picture of ImageNet has 16 MB


class Files(ABC):
    """Named files. origin: what they are in, for messages. names: all, sorted; parts joined by "/". folders: all, empty
    ones too. Names are relative to the folder, or as members have them."""

    origin: Path
    names: Sequence[str]
    folders: set[str]

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content; KeyError for a name that is not there."""

    @abstractmethod
    def size(self, name: str) -> int:
        """A file's bytes, by what is said of it; KeyError for a name that is not there."""

    def text(self, name: str) -> str:
        """A list's content; InputError where it is no text."""
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.origin}: {name} is no text ({error}); get it from its official source") from error

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
    found: set[str] = set()
    for folder in chain(folders, (name.rpartition("/")[0] for name in names)):
        path = folder
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def is_hidden(name: str) -> bool:
    """Whether any part of a name starts with a dot, or it is what macOS adds to archives: nobody's data."""
    return name.startswith((".", "__MACOSX/")) or "/." in name or name == "__MACOSX"


class FolderFiles(Files):
    """All files below a folder; links to files elsewhere are followed, since the folder is the user's own.

    InputError for a folder that cannot be read, and for links that lead nowhere or back to a folder above them.
    """

    def __init__(self, folder: Path) -> None:
        self.origin = folder
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; name the one that holds the images")
        self._sizes: dict[str, int] = {}
        self.folders = set()
        waiting = [("", frozenset({_identity(folder.stat())}))]
        while waiting:
            here, above = waiting.pop()
            waiting += self._list(here, above)
        self.names = sorted(self._sizes)

    def _list(self, here: str, above: frozenset[tuple[int, int]]) -> list[tuple[str, frozenset[tuple[int, int]]]]:
        """Note what is in a folder; the folders in it, each with what tells those above it."""
        below, name = [], here
        try:
            with os.scandir(self.origin / here) as entries:
                for entry in entries:
                    name = f"{here}{entry.name}"
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        self._sizes[name] = status.st_size
                    elif stat.S_ISDIR(status.st_mode):
                        if _identity(status) in above:
                            told = f"{self.origin}: {printable(name)} is a link to a folder above it; remove it"
                            raise InputError(told)
                        self.folders.add(name)
                        below.append((f"{name}/", above | {_identity(status)}))
        except OSError as error:
            raise self._unreadable(name, error) from error
        return below

    def _unreadable(self, name: str, error: OSError) -> InputError:
        return InputError(
            f"{self.origin}: {printable(name) or 'the folder'} cannot be read ({error.strerror}); check the file and "
            "its permissions, or remove it"
        )

    def size(self, name: str) -> int:
        """As it was when the folder was listed."""
        return self._sizes[name]

    def read(self, name: str) -> bytes:
        """The file as it is now."""
        check_size(self, name)
        try:
            return (self.origin / name).read_bytes()
        except OSError as error:
            raise self._unreadable(name, error) from error


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def check_size(files: Files, name: str) -> None:
    """Raise InputError for a file that no picture and no list is as large as."""
    size = files.size(name)
    if size > FILE_LIMIT:
        raise InputError(
            f"{files.origin}: {printable(name)} has {size / 1e6:,.0f} MB, and no picture or list has more than "
            f"{FILE_LIMIT / 1e6:,.0f} MB; leave it out, or get the archive from its official source"
        )
