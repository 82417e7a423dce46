"""Archives from mirrors or local paths: continued after a cut, verified, and never seen half."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching import remote
from cimbench.datasets.fetching.checksums import check_declaration, remember, verify_checksum, verify_once
from cimbench.datasets.fetching.partial import DiskSpaceError, Partial, StorageError, check_disk_space, own_disk
from cimbench.datasets.fetching.patience import PATIENCE, Attempt, MirrorError, Patience, persist
from cimbench.datasets.progress import Advance, Display, display_of, no_progress

__all__ = [
    "Advance",
    "ArchiveParameters",
    "DiskSpaceError",
    "Patience",
    "StorageError",
    "check_disk_space",
    "expanded",
    "fetch_archive",
    "no_progress",
    "verify_checksum",
]


@dataclass(frozen=True, kw_only=True)
class ArchiveParameters:
    """Where an archive comes from: mirrors in order (addresses or paths; $CIMBENCH_SHARED is filled in), checksum.

    checksum is "md5:..." or "sha256:...", or empty to accept any content. licence: a notice, shown before the first
    download and kept beside it. manual: what to do by hand where data need an account; shown when no mirror is read.
    """

    mirrors: tuple[str, ...]
    checksum: str = ""
    licence: str = ""
    manual: str = ""

    def __post_init__(self) -> None:
        if not self.mirrors:
            raise InputError("dataset.archive.mirrors is empty; give at least one address or path")
        check_declaration("dataset.archive.checksum", self.checksum)


def expanded(address: str) -> str:
    """`address` with $CIMBENCH_SHARED (default ../shared) and other environment variables filled in."""
    shared = os.environ.get("CIMBENCH_SHARED", "../shared")
    return os.path.expandvars(address.replace("$CIMBENCH_SHARED", shared))


def fetch_archive(
    archive: ArchiveParameters, folder: Path, progress: Advance = no_progress, patience: Patience = PATIENCE
) -> Path:
    """The verified archive as a local file: the user's own where a path was given, else downloaded into `folder`.

    What is on this machine already comes first, then the mirrors in order; a partial download is continued. With
    CIMBENCH_OFFLINE set no address is contacted. Raises InputError when all mirrors fail or on a wrong checksum,
    StorageError (an InputError, too) when the folder cannot be written or is full.
    """
    display = display_of(progress)
    mirrors = [expanded(mirror) for mirror in archive.mirrors]
    failures: list[str] = []
    refused: set[Path] = set()  # files that are here and wrong
    for mirror in sorted(mirrors, key=lambda mirror: not _is_file(_file_of(mirror, folder))):
        path = _file_of(mirror, folder)
        if path in refused:
            continue
        try:
            return _from_mirror(mirror, archive, folder, display, patience)
        except StorageError:
            raise
        except (OSError, ValueError) as error:
            known = isinstance(error, InputError | MirrorError)
            failures.append(f"  {mirror}: {error if known else f'{type(error).__name__}: {error}'}")
            if _is_file(path):
                refused.add(path)
    raise InputError(_nothing_read(archive, mirrors, folder, failures))


def _nothing_read(archive: ArchiveParameters, mirrors: list[str], folder: Path, failures: list[str]) -> str:
    """What was tried, and what to do."""
    remedy = "put the archive on this machine and name its path in dataset.archive.mirrors"
    kept = ""
    if any(map(_is_address, mirrors)):
        remedy = f"check the network, or {remedy}"
        if any(_is_file(_beside(_file_of(mirror, folder), "partial")) for mirror in mirrors):
            kept = f"; what has come so far stays in {folder} and is continued"
    lines = "\n".join(failures)
    return f"dataset.archive: no mirror could be read{kept}:\n{lines}\n{expanded(archive.manual) or remedy}"


def _is_address(mirror: str) -> bool:
    return "://" in mirror and not mirror.startswith("file://")


def _file_of(mirror: str, folder: Path) -> Path:
    """Where the archive of an address or path is on this machine, or will be."""
    if _is_address(mirror):
        return folder / PurePosixPath(mirror.partition("?")[0].partition("#")[0]).name
    path = Path(mirror.removeprefix("file://localhost" if mirror.startswith("file://localhost/") else "file://"))
    with suppress(RuntimeError):  # ~somebody, who has no home here
        path = path.expanduser()
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f"{target.name}.{what}")


def _from_mirror(mirror: str, archive: ArchiveParameters, folder: Path, display: Display, patience: Patience) -> Path:
    """The verified archive from one address or path."""
    path = _file_of(mirror, folder)
    if not path.is_file():
        if not _is_address(mirror):
            raise InputError("is a folder; name the archive in it" if path.is_dir() else "no such file")
        if os.environ.get("CIMBENCH_OFFLINE", "0") not in ("", "0"):
            raise InputError("CIMBENCH_OFFLINE is set, so no address is contacted")
        with _locked(path, display):
            if not path.is_file():  # nor was it fetched while we waited
                _show_licence(archive.licence, path, display)
                _download(mirror, path, archive.checksum, display, patience)
    verify_once(path, archive.checksum, folder, display)
    return path


@contextmanager
def _locked(target: Path, display: Display) -> Iterator[None]:
    """One fetch of a target at a time; the system lets go of the lock of a process that was killed."""
    lock = FileLock(_beside(target, "lock"))
    try:
        with own_disk(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                display.line(f"{target}: is being fetched by another process; waiting until it is done")
                lock.acquire()
        yield
    finally:
        lock.release()


def _show_licence(licence: str, target: Path, display: Display) -> None:
    """Show the notice unless it was shown before; it stays beside the download."""
    notice = _beside(target, "licence.txt")
    text = f"{licence}\n".encode()
    if licence and not (notice.is_file() and notice.read_bytes() == text):
        display.line(f"{target.name}: {licence}")
        with own_disk(notice):
            write_atomically(notice, lambda file: file.write(text))


def _download(mirror: str, target: Path, checksum: str, display: Display, patience: Patience) -> None:
    """Download to `target`, which is there only when it is whole and verified; a wrong file is kept aside."""
    attempt = _attempt_at(mirror)
    with Partial(target, checksum, display) as partial:
        persist(attempt, mirror, partial, patience)
        if partial.doubtful and not partial.running_checksum().matches():
            display.line(f"{target.name}: continued, it has a wrong checksum; the download begins again")
            partial.discard()
            persist(attempt, mirror, partial, patience)
        if not partial.running_checksum().matches():
            raise InputError(
                f"{partial.running_checksum().difference()}; the file there is damaged or another version, "
                f"and kept as {partial.set_aside()}: name another mirror, or correct the checksum"
            )
        partial.accept()
    remember(target, checksum, target.parent)


def _attempt_at(mirror: str) -> Attempt:
    """How bytes come from such an address. The web's libraries are imported for the web alone."""
    if not mirror.lower().startswith(("http://", "https://")):
        return remote.attempt
    try:
        from cimbench.datasets.fetching import web
    except ModuleNotFoundError as error:
        raise MirrorError(f"the package '{error.name}' is not installed; install it") from error
    return web.attempt
