"""People's object boxes from ImageNet's annotation archives."""

from __future__ import annotations

import io
import math
import re
import tarfile
import zlib
from collections.abc import Container, Iterator
from pathlib import PurePosixPath

from cimbench.datasets.errors import InputError
from cimbench.datasets.reading.archives import reading
from cimbench.datasets.reading.files import FILE_LIMIT, Files

Box = tuple[int, int, int, int]
NO_BOX: Box = (-1, -1, -1, -1)


def boxes_of(files: Files, wanted: Container[str]) -> dict[str, Box]:
    """Pictures' names without folder and suffix -> the box around their objects, of those in `wanted` that have any.

    Annotations are XML files, in folders or in one archive a synset inside the archive (tar, tar.gz).
    """
    found: dict[str, Box] = {}
    for name in files.names:
        if name.endswith((".tar", ".tar.gz", ".tgz")):
            inner = _inside(files.read(name), f"{files.origin}: {name}")
            found |= {stem: around(text, where) for stem, text, where in inner if stem in wanted}
        elif name.endswith(".xml") and _stem(name) in wanted:
            found[_stem(name)] = around(files.read(name), f"{files.origin}: {name}")
    return found


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _inside(content: bytes, origin: str) -> Iterator[tuple[str, bytes, str]]:
    """Names, contents and places of the annotations of an archive in an archive."""
    if content.startswith(b"\x1f\x8b"):
        unpacking = zlib.decompressobj(31)
        with reading(origin):
            content = unpacking.decompress(content, FILE_LIMIT)
        if unpacking.unconsumed_tail:
            raise InputError(f"{origin}: unpacks to more than {FILE_LIMIT / 1e6:,.0f} MB; get it from its source")
    with reading(origin), tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        members = [member for member in archive if member.isreg() and member.name.endswith(".xml")]
        texts = [archive.extractfile(member).read() for member in members]  # type: ignore[union-attr]
    for member, text in zip(members, texts, strict=True):
        yield _stem(member.name), text, f"{origin}: {member.name}"


def around(annotation: bytes, origin: str) -> Box:
    """The rectangle around all boxes of an annotation in PASCAL VOC's form, XYXY with exclusive ends.

    NO_BOX where it has none; InputError where an edge is missing. Edges left of the picture or above it are moved in.
    """
    x0, y0, x1, y1 = (_edges(annotation, edge) for edge in (b"xmin", b"ymin", b"xmax", b"ymax"))
    if len({len(x0), len(y0), len(x1), len(y1)}) > 1 or len(x0) != annotation.count(b"<bndbox>"):
        raise InputError(f"{origin}: has an object box without its four edges; get the archive of boxes again")
    if not x0:
        return NO_BOX
    left, top = (max(0, math.floor(min(edges))) for edges in (x0, y0))
    right, bottom = (max(0, math.ceil(max(edges))) for edges in (x1, y1))
    return left, top, right, bottom


def _edges(annotation: bytes, edge: bytes) -> list[float]:
    return [float(value) for value in re.findall(rb"<%b>\s*(-?\d+(?:\.\d*)?)\s*</%b>" % (edge, edge), annotation)]
