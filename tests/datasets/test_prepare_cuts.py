"""Preparation is cut anywhere and goes on to the same bytes: killed, out of space, its journal behind or lost."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.packed_store import open_store
from cimbench.datasets.preparing import journal as journal_module
from cimbench.datasets.preparing import prepare as module
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from tests.datasets.prepared import catalogue, count_decodes, pictures, prepared, tree

FORK = multiprocessing.get_context("fork")  # a real process, without a second's import


def many() -> list[bytes | torch.Tensor]:
    made = pictures(150)
    made[40] = b"no picture"
    return made


def slowly(folder: Path) -> None:
    module.JOURNAL_SECONDS = 0.02
    made = many()

    def content(index: int) -> bytes | torch.Tensor:
        time.sleep(0.004)
        return made[index]

    prepared(catalogue(made, content=content), folder, workers=2, damaged_limit=1)


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    prepared(catalogue(many()), tmp_path / "undisturbed", damaged_limit=1)
    moments = random.Random(11)
    codes, folder = [], tmp_path / "killed"
    for _ in range(30):
        process = FORK.Process(target=slowly, args=(folder,))
        process.start()
        process.join(moments.uniform(0.02, 0.2))
        process.kill()
        process.join()
        codes.append(process.exitcode)
        if codes[-1] == 0:
            break
    assert codes[:3] == [-signal.SIGKILL] * 3
    prepared(catalogue(many()), folder, damaged_limit=1)
    assert tree(folder / "s") == tree(tmp_path / "undisturbed/s")
    assert sorted(path.name for path in folder.rglob("*")) == ["images.bin", "index.npz", "partial", "s"]


class CutError(Exception):
    pass


def cut_after(count: int, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> None:
    """Stop a preparation of twelve pictures when so many were written, saving every `seconds`."""

    def stop(done: int, _total: int) -> None:
        if done == count:
            raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(module, "JOURNAL_SECONDS", seconds)
        with pytest.raises(CutError):
            prepare(catalogue(pictures()), PrepareParameters(), folder / "s", folder / "partial", stop, 1)


def bytes_and_journal(folder: Path) -> tuple[Path, Path]:
    (images,) = (folder / "partial").rglob("images.bin")
    return images, images.parent.with_suffix(".journal")


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, str]:
    prepared(catalogue(pictures()), tmp_path / "undisturbed")
    return tree(tmp_path / "undisturbed/s")


@pytest.mark.parametrize("count", [1, 5, 11, 12])
def test_what_was_saved_is_not_made_again(
    count: int, undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_after(count, tmp_path, monkeypatch)
    decoded = count_decodes(monkeypatch)
    prepared(catalogue(pictures()), tmp_path)
    assert len(decoded) == 12 - (count - 1)  # progress is told before the save
    assert tree(tmp_path / "s") == undisturbed


Harm = Callable[[Path, Path], object]
HARMS: dict[str, Harm] = {
    "older journal": lambda _, journal: journal.write_bytes(b"".join(journal.read_bytes().splitlines(True)[:3])),
    "cut line": lambda _, journal: journal.write_bytes(journal.read_bytes()[:-4]),
    "garbage line": lambda _, journal: journal.write_bytes(journal.read_bytes()[:40] + b"\xff[1]\n\n{}\n"),
    "negative line": lambda _, journal: journal.write_bytes(b"[-5, 1, 1, 1, 1]\n"),
    "lost journal": lambda _, journal: journal.unlink(),
    "empty journal": lambda _, journal: journal.write_bytes(b""),
    "shorter bytes": lambda images, _: images.write_bytes(images.read_bytes()[:-3]),
    "no bytes": lambda images, _: images.unlink(),
    "more bytes": lambda images, _: images.write_bytes(images.read_bytes() + b"more" * 30_000),
    "both lost": lambda images, journal: (images.unlink(), journal.unlink(), images.parent.rmdir()),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
def test_journal_and_bytes_may_disagree(
    harm: Harm, undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_after(9, tmp_path, monkeypatch)
    harm(*bytes_and_journal(tmp_path))
    prepared(catalogue(pictures()), tmp_path)
    assert tree(tmp_path / "s") == undisturbed


@pytest.mark.parametrize("step", ["index", "between the renames", "after them"])
def test_a_cut_in_the_last_steps(
    step: str, undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an older store is replaced."""
    prepared(catalogue(pictures()), tmp_path, short_side=5)
    real = Path.rename

    def cut(*_: object) -> None:
        raise CutError

    def first_rename_alone(path: Path, target: Path) -> Path:
        return real(path, target) if path.name == "s" else cut()  # type: ignore[func-returns-value]

    with monkeypatch.context() as patch:
        if step == "between the renames":
            patch.setattr(Path, "rename", first_rename_alone)
        else:
            patch.setattr(module, "_write_index" if step == "index" else "open_store", cut)
        with pytest.raises(CutError):
            prepared(catalogue(pictures()), tmp_path)
    assert (tmp_path / "s").exists() == (step != "between the renames")
    decoded = count_decodes(monkeypatch)
    prepared(catalogue(pictures()), tmp_path)
    assert decoded == []
    assert tree(tmp_path / "s") == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["partial", "s", "undisturbed"]


def test_what_was_begun_with_other_parameters_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_after(9, tmp_path, monkeypatch)
    assert bytes_and_journal(tmp_path)[0].stat().st_size > 0
    prepared(catalogue(pictures()), tmp_path, short_side=7)
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_full_disk_is_told_and_gone_on_from(
    undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(module, "JOURNAL_SECONDS", 0.0)
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"could not be written \(No space left on device\); free some disk space"):
            prepared(catalogue(pictures()), tmp_path)
    decoded = count_decodes(monkeypatch)
    prepared(catalogue(pictures()), tmp_path)
    assert 0 < len(decoded) < 12
    assert tree(tmp_path / "s") == undisturbed


@pytest.mark.parametrize("where", ["s", "partial"])
def test_a_place_where_nothing_can_be_written_is_told(where: str, tmp_path: Path) -> None:
    """A file where a folder has to be; permissions would not stop the super-user."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    target = blocked / "s" if where == "s" else tmp_path / "s"
    scratch = blocked if where == "partial" else tmp_path / "partial"
    with pytest.raises(
        InputError, match=r"blocked.*: could not be written \((Not a directory|File exists)\); check the folder"
    ):
        prepare(catalogue(pictures()), PrepareParameters(), target, scratch)


def test_two_at_once_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_after(5, tmp_path, monkeypatch)
    images, _ = bytes_and_journal(tmp_path)
    with images.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="is being prepared by another process; wait for it, or stop it"):
            prepared(catalogue(pictures()), tmp_path)
    prepared(catalogue(pictures()), tmp_path)


def test_a_picture_that_cannot_be_read_is_no_damaged_one(tmp_path: Path) -> None:
    def failing(index: int) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", f"/machine/{index}")

    with pytest.raises(InputError, match=r"here: p\d+ cannot be read \(Permission denied\); check that it is there"):
        prepared(catalogue(pictures(), content=failing), tmp_path, damaged_limit=99)


def test_the_journal_of_a_million_pictures_is_appended_and_small(tmp_path: Path) -> None:
    """What a save writes depends on what is new, and a picture takes 40 bytes of memory."""
    journal = journal_module.Journal(tmp_path / "j", 0)
    for place in range(20_000):
        journal.add(1000 + place, (256, 300), (375, 500))
    journal.save()
    written = (tmp_path / "j").stat().st_size
    journal.add_damaged("is no picture")
    journal.save()
    assert (tmp_path / "j").stat().st_size - written == len('"is no picture"\n')
    assert journal._numbers.itemsize * len(journal._numbers) == 40 * 20_001
    journal.close()
    again = journal_module.Journal(tmp_path / "j", journal.bytes)
    assert len(again) == 20_001
    assert again.damaged == {20_000: "is no picture"}
    assert again.bytes == sum(1000 + place for place in range(20_000))
    assert torch.equal(again.table(), journal.table())


def test_the_store_in_place_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older store stays readable until the new one is there."""
    old = prepared(catalogue(pictures()), tmp_path, short_side=5)
    with monkeypatch.context() as patch:
        patch.setattr(module, "JOURNAL_SECONDS", 0.0)
        patch.setattr(module, "packed", lambda *_: (_ for _ in ()).throw(CutError()))
        with pytest.raises(CutError):
            prepared(catalogue(pictures()), tmp_path)
    assert open_store(tmp_path / "s").digest == old.digest
