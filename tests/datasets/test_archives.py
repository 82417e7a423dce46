"""Archives: hostile ones are refused whole, damaged ones are named, good ones yield their files."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from cimbench.datasets.errors import InputError
from tests.datasets.archives import everything, food101_files, write_tar

CONTENT = bytes(range(256)) * 4000  # about 1 MB


def test_a_flipped_bit_in_a_compressed_archive_is_found_without_a_checksum(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", food101_files())
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the stored checksum itself, so that every member still reads
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x.tar.gz: is truncated or damaged \(CRC"):
        everything(path)


def tar_with(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for name in ("good/a", "good/b"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE = {
    "parent": tarfile.TarInfo("good/../../evil"),
    "absolute": tarfile.TarInfo("/tmp/evil"),
    "symbolic link": link("good/c", "/etc/passwd", tarfile.SYMTYPE),
    "hard link": link("good/c", "../outside", tarfile.LNKTYPE),
    "device": link("good/c", "", tarfile.CHRTYPE),
}


@pytest.mark.parametrize("member", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_tars_are_refused_whole(tmp_path: Path, member: tarfile.TarInfo) -> None:
    path = tar_with(tmp_path / "evil.tar", member)
    yielded = []
    with pytest.raises(InputError, match=r"evil.tar: refused, 1 members point outside"):
        yielded.extend(everything(path))
    assert yielded == []
    assert [p.name for p in tmp_path.iterdir()] == ["evil.tar"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_hostile_zips_are_refused_whole(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("good", "abc")
        archive.writestr(name, "x")
    with pytest.raises(InputError, match="refused"):
        everything(tmp_path / "evil.zip")


def test_links_in_zips_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="refused"):
        everything(tmp_path / "evil.zip")


def test_a_good_archive_yields_its_files(tmp_path: Path) -> None:
    assert dict(everything(tar_with(tmp_path / "good.tar"))) == {"good/a": b"abc", "good/b": b"abc"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_archives_are_named(tmp_path: Path, share: float) -> None:
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("a")
        info.size = len(CONTENT)
        archive.addfile(info, io.BytesIO(CONTENT))
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cut.tar.gz: is truncated or damaged .*fetch the archive again"):
        everything(cut)
