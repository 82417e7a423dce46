"""What was fetched for a data set: a small file that tells DVC whether its pictures have to be prepared again."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters, StorageError, expanded, fetch_archive
from cimbench.datasets.progress import Advance
from cimbench.datasets.reading.files import FolderFiles


def receipt(parameters: Any, folder: Path, progress: Advance) -> dict[str, dict[str, Any]]:
    """Each archive of a source's parameters, fetched and verified, by the parameter's name: file name, size, checksum.

    A folder of the user's own is told by a digest of its files' names and sizes. No path of this machine is in it.
    InputError that names every archive that could not be had, not the first alone.
    """
    told: dict[str, dict[str, Any]] = {}
    absent: list[str] = []
    for field in dataclasses.fields(parameters):
        value = getattr(parameters, field.name)
        if isinstance(value, ArchiveParameters):
            try:
                path = fetch_archive(value, folder, progress)
            except StorageError:
                raise
            except InputError as error:
                absent.append(f"{field.name}: {error}")
                continue
            checksum = value.checksum or f"sha256:{_sha256(path)}"
            told[field.name] = {"file": path.name, "bytes": path.stat().st_size, "checksum": checksum}
        elif field.name == "folder" and value is not None:
            files = FolderFiles(Path(expanded(value)))
            told[field.name] = {"files": len(files.names), "names_and_sizes": files.listing_digest}
    if absent:
        raise InputError("\n".join(absent))
    return told


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
