"""What is in an archive, read without unpacking it: nothing is written to the disk, hostile archives are refused."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from cimbench.datasets.errors import InputError

_CHUNK = 1 << 20


def _is_hostile(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0]


def archive_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file of a tar (any compression) or zip, in the archive's order.

    Nothing is written to the disk. Raises InputError for a damaged or truncated archive, and for one with members
    that point outside the folder it would be unpacked into (absolute, "..", links): such an archive is refused whole.
    """
    try:
        if zipfile.is_zipfile(path):
            yield from _zip_files(path)
        else:
            yield from _tar_files(path)
    except FileNotFoundError:
        raise InputError(f"{path}: is not there; check dataset.archive.mirrors") from None
    except (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: is truncated or damaged ({reason}); fetch the archive again") from error


def _refuse_hostile(path: Path, hostile: Sequence[str]) -> None:
    if hostile:
        raise InputError(
            f"{path}: refused, {len(hostile)} members point outside the archive's folder: {', '.join(hostile)}; "
            "get the archive from its official source"
        )


def _zip_files(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        links = [m.filename for m in members if (m.external_attr >> 16) & 0o170000 == 0o120000]
        _refuse_hostile(path, links + [m.filename for m in members if _is_hostile(m.filename)])
        for member in members:
            if not member.is_dir():
                yield member.filename, archive.read(member)


def _tar_files(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:  # first pass: the list alone, so that a hostile archive yields nothing
        members = archive.getmembers()
        while archive.fileobj is not None and archive.fileobj.read(_CHUNK):
            pass  # to the end of the compressed stream, where its checksum is compared
        hostile = [m.name for m in members if _is_hostile(m.name) or not (m.isreg() or m.isdir())]
        _refuse_hostile(path, hostile)
        for member in members:
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None:
                yield member.name, file.read()
