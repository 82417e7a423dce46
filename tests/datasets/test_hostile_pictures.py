"""Bombs, absurd sizes and files that are none: each meets a limit with a name."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from cimbench.datasets.errors import InputError
from cimbench.datasets.preparing.decode import decode_rgb, open_rgb
from cimbench.datasets.preparing.parameters import PIXELS_AT_MOST, PrepareParameters
from cimbench.datasets.reading import files
from cimbench.datasets.reading.archives import open_files
from tests.datasets.archives import everything, picture
from tests.datasets.ilsvrc import tar_bytes
from tests.datasets.prepared import catalogue, pictures, prepared

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def png_of(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG whose header says a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header says a size."""
    plain = picture(1)
    place = plain.index(b"\xff\xc0") + 5
    return plain[:place] + struct.pack(">HH", height, width) + plain[place + 4 :]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png_of(60_000, 60_000), "says it has more pixels than dataset.prepare.pixel_limit, which is 100000000"),
        (png_of(2**31 - 1, 2**31 - 1), "says it has more pixels than dataset.prepare.pixel_limit, which is 100000000"),
        (png_of(10_001, 10_000), "says it has 10001 x 10000 pixels, dataset.prepare.pixel_limit is 100000000"),
        (jpeg_of(65_000, 65_000), "says it has more pixels than dataset.prepare.pixel_limit, which is 100000000"),
        (png_of(0, 5), "."),
        (b"", "is empty"),
        (b"<html>", "is no picture"),
        (b"\0" * 1000, "is no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "is no picture"),  # Pillow would run a program
        (b"%PDF-1.4", "is no picture"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "is no picture"),
        (png_of(5, 5), "."),
        (picture(1)[:-20], "truncated"),
        (picture(1, form="PNG")[:-60], "."),
        (picture(1, form="GIF", mode="P")[:-60], "."),
        (picture(1, form="TIFF")[:-60], "."),
        (picture(1, form="BMP")[:-60], "truncated"),
        (picture(1, form="WEBP")[:-60], "."),
        (picture(1, form="TIFF", mode="F"), "has fractions as its pixels"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_is_no_picture_is_damaged(content: bytes, words: str) -> None:
    with pytest.raises(OSError, match=words):
        decode_rgb(content)


def test_any_bytes_are_a_picture_or_damaged() -> None:
    """Of each format, with bytes changed anywhere: no other error comes through."""
    for form, mode in (("JPEG", "RGB"), ("PNG", "P"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("WEBP", "RGB")):
        whole = picture(3, 16, 12, mode, form)
        for place in range(0, len(whole), max(1, len(whole) // 150)):
            for value in (0x00, 0xFF, whole[place] ^ 0x20):
                try:
                    open_rgb(whole[:place] + bytes([value]) + whole[place + 1 :])
                except OSError as error:
                    assert " at 0x" not in str(error)  # an address would differ between two runs


def test_the_limit_of_pixels_has_a_name() -> None:
    for limit in (0, PIXELS_AT_MOST + 1):
        with pytest.raises(InputError, match=rf"dataset.prepare.pixel_limit is {limit}; give 1 to {PIXELS_AT_MOST}"):
            PrepareParameters(pixel_limit=limit)
    assert open_rgb(picture(1, 10, 10), 100)[0].size == (10, 10)
    with pytest.raises(OSError, match=r"says it has 11 x 10 pixels, dataset.prepare.pixel_limit is 100"):
        open_rgb(picture(1, 11, 10), 100)
    Image.new("1", (PIXELS_AT_MOST // 1000, 1000)).save(file := io.BytesIO(), "PNG")
    assert Image.open(file).size[1] == 1000  # Pillow itself takes as many


def test_one_too_wide_for_a_jpeg_is_damaged(tmp_path: Path) -> None:
    wide = io.BytesIO()
    Image.new("RGB", (70_000, 1)).save(wide, "PNG")
    contents = pictures(7)
    contents[6] = wide.getvalue()
    with pytest.raises(InputError, match=r"1 pictures cannot be decoded(.|\n)*p6: "):
        prepared(catalogue(contents), tmp_path, encoding="jpeg")
    assert prepared(catalogue(contents), tmp_path).sizes[6].tolist() == [1, 70_000]


def test_a_zip_that_explodes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.jpg", bytes(100 << 20))
    with pytest.raises(InputError, match=r"bomb.zip: unpacks to more than 67 MB, 20 times its own size"):
        open_files(tmp_path / "bomb.zip", tmp_path / "scratch")


def test_a_zip_that_lies_about_a_size_unpacks_no_more(tmp_path: Path) -> None:
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.jpg", bytes(50 << 20))
    content = path.read_bytes().replace(struct.pack("<I", 50 << 20), struct.pack("<I", 10))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"liar.zip: is truncated or damaged"):
        everything(path)


@pytest.mark.parametrize("form", ["gz", "bz2", "xz"])
def test_a_compressed_tar_that_explodes_is_refused(form: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.tar").write_bytes(tar_bytes({"a/b.jpg": bytes(100 << 20)}, f"w:{form}"))
    with pytest.raises(InputError, match=r"bomb.tar: unpacks to more than 67 MB, 20 times its own size"):
        open_files(tmp_path / "bomb.tar", tmp_path / "scratch")
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


def test_a_file_as_large_as_no_picture_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_LIMIT", 1000)
    (tmp_path / "x.tar").write_bytes(tar_bytes({"a/b.jpg": bytes(1001)}))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/b.jpg", bytes(1001))
    (tmp_path / "x/a").mkdir(parents=True)
    (tmp_path / "x/a/b.jpg").write_bytes(bytes(1001))
    for name in ("x.tar", "x.zip", "x"):
        with pytest.raises(
            InputError, match=r"a/b.jpg has 0 MB, and no picture or list has more than 0 MB; leave it out"
        ):
            everything(tmp_path / name)


def test_encrypted_zips_and_sparse_tars_are_told(tmp_path: Path) -> None:
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.jpg", b"x")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"secret.zip: is encrypted; unpack it with its password"):
        everything(path)
    info = tarfile.TarInfo("a")
    info.size, info.pax_headers = 4, {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,4"}
    info.pax_headers |= {"GNU.sparse.size": "900", "GNU.sparse.name": "a"}
    with tarfile.open(tmp_path / "sparse.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"abcd"))
    with pytest.raises(InputError, match=r"sparse.tar: a is sparse; pack the archive without tar's --sparse"):
        everything(tmp_path / "sparse.tar")


def test_the_last_of_two_members_of_one_name_counts(tmp_path: Path) -> None:
    """As it would when the archive were unpacked."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in (("a/b", b"first"), ("./a//b", b"last")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped, pytest.warns(UserWarning, match="Duplicate name"):
        zipped.writestr("a/b", b"first")
        zipped.writestr("a/b", b"last")
    assert everything(tmp_path / "x.tar") == everything(tmp_path / "x.zip") == [("a/b", b"last")]


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path: Path) -> None:
    with zipfile.ZipFile(zipped := io.BytesIO(), "w") as archive:
        archive.writestr("inner", b"x")
    (tmp_path / "x.tar").write_bytes(tar_bytes({"a/b": b"abc", "a/c.zip": zipped.getvalue()}))
    assert [name for name, _ in everything(tmp_path / "x.tar")] == ["a/b", "a/c.zip"]


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"<html>not found</html>" * 100)
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"no tar"))
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + bytes(500))
    for name in ("x.tar", "x.gz", "x.zip"):
        with pytest.raises(InputError, match=rf"{name}: is truncated or damaged"):
            everything(tmp_path / name)
    with pytest.raises(InputError, match=r"nowhere: is not there"):
        everything(tmp_path / "nowhere")
