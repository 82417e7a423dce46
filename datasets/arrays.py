"""Arrays and their description in one file (NumPy's npz, never pickle), written so that no half file is ever seen."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cimbench.datasets.errors import InputError

_DESCRIPTION = "__description__"


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write beside `path`, flush to the disk, rename: a reader sees the old file or the whole new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with write_to_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def write_to_disk(path: Path) -> Iterator[None]:
    """What the system says against writing `path`, as an InputError that names it."""
    try:
        yield
    except OSError as error:
        remedy = "free some disk space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
        raise InputError(f"{path}: could not be written ({error.strerror}); {remedy} and retry") from error


def write_json(path: Path, content: object) -> None:
    """Write `content` as indented JSON, atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_json(path: Path, *, made_by: str, remedy: str) -> dict[str, Any]:
    """The mapping in a JSON file that this project wrote; InputError where it is absent, damaged or no mapping.

    made_by: what an absent file is made with. remedy: what to do about a damaged one.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: is not there; {made_by}") from None
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8 and no JSON are ValueErrors
        raise InputError(f"{path}: is damaged or of another version ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: is damaged or of another version (it holds no mapping); {remedy}")
    return content


def digest_of(content: Mapping[str, Any]) -> str:
    """sha256 of plain content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> None:
    """Save arrays and a JSON-able description as one npz file, atomically."""
    text = np.array(json.dumps(description, sort_keys=True))

    def write(file: IO[bytes]) -> None:
        # a zip member's time stamp is the start of 1980 here, so that equal arrays give equal bytes
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in {**arrays, _DESCRIPTION: text}.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

    write_atomically(path, write)


def load_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `save_arrays` wrote; a damaged file (its checksums are verified) raises InputError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return arrays, json.loads(str(arrays.pop(_DESCRIPTION)))
    except FileNotFoundError:
        raise InputError(f"{path}: is not there; make it with the stage before (dvc repro)") from None
    except Exception as error:  # zipfile, zlib and NumPy's header reader raise anything about a damaged file
        raise InputError(f"{path}: is damaged ({error}); delete it and run again") from error
