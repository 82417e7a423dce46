"""One attempt at an archive on any file system that fsspec knows (s3, gs, ftp, ...), all but HTTP."""

from __future__ import annotations

from typing import Any

import fsspec.core

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.partial import Origin, Partial, check_disk_space
from cimbench.datasets.fetching.patience import AttemptError, MirrorError, Patience, receive

_BLOCK = 4 << 20


def attempt(address: str, partial: Partial, patience: Patience) -> None:
    """Append what `partial` lacks of the file; AttemptError or MirrorError where that fails."""
    try:
        filesystem, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:  # a package for this kind of address is missing, or no such kind
        raise MirrorError(str(error)) from error
    try:
        _continue(filesystem, path, address, partial, patience)
    except (InputError, MirrorError, AttemptError):
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise MirrorError(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # every file system has errors of its own
        raise AttemptError(f"{type(error).__name__}: {error}") from error


def _continue(filesystem: Any, path: str, address: str, partial: Partial, patience: Patience) -> None:
    filesystem.invalidate_cache()
    size = filesystem.info(path).get("size")
    origin = Origin(address=address, etag=str(filesystem.ukey(path)), size=size)
    if size is None and not partial.checksum:
        raise MirrorError("does not say how large the archive is; declare dataset.archive.checksum")
    if not partial.may_continue(address) or (partial.origin and partial.origin.contradicts(origin)):
        partial.discard()
    if size is not None:
        check_disk_space(partial.path.parent, size - partial.size)
        if partial.size > size:
            partial.discard()
    partial.bind(origin)
    if size is not None and partial.size == size:
        return
    with filesystem.open(path, "rb", block_size=_BLOCK, cache_type="readahead") as source:
        source.seek(partial.size)
        receive(source.read, None if size is None else size - partial.size, partial, patience)
