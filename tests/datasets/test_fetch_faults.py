"""Whatever a server does, a fetch ends with the right file or a clear error; a wrong file is never at its name.

Each row is a script that a server on this machine plays. "partial": bytes of an earlier fetch lie beside the target.

| script | what the server does | how the fetch ends |
| --- | --- | --- |
| honest | sends the file | right |
| cut | closes the connection at byte 60000, then behaves | right, continued at 60000 |
| cut often | closes every connection after 50000 bytes | right, in four requests |
| reset | resets the connection at byte 60000, then behaves | right, continued |
| cut in a range | cuts, and cuts the range that follows too | right, in three requests |
| no ranges | cuts, then answers a range with the whole file | right, again |
| no ranges, cut | cuts every time at byte 60000 and honours no range | error, bounded |
| cut for ever | closes before the first new byte, every time | error, bounded |
| trickle | sends ten bytes a connection | error, bounded: that is no progress |
| silent | closes before it answers, then behaves | right |
| no HTTP | sends something that is no HTTP, then behaves | right |
| 429 | asks to wait 0 seconds, then behaves | right |
| 429, long | asks to wait an hour | error at once, which says so |
| 503, date | asks to wait until a date that has passed, then behaves | right |
| 500 | fails twice, then behaves | right |
| 500 for ever | always fails | error, bounded |
| 500 after a cut | cuts, fails, then behaves | right, continued |
| 404 | has no such file | error at once |
| 403 | lets nobody in | error at once |
| 416, whole | has nothing behind a partial that is the whole file | right, that partial |
| 416, damaged | has nothing behind a partial as long as the file, which is not the file | right, again |
| 416, short | has nothing behind a partial that is too short, then behaves | right, again |
| 416 after a cut | has nothing behind byte 60000, where it cut, then behaves | right, again |
| 416, unasked | says so to a request for the whole file | error at once |
| another place | answers a range with bytes from elsewhere | right, those are refused |
| no place | answers a range without Content-Range | right, those are refused |
| past the end | answers a range that ends behind the file's end | right, those are refused |
| two lengths | Content-Length contradicts Content-Range | right, those are refused |
| wrong ranges | cuts whole files, and answers every range from elsewhere | error, bounded |
| 206, unasked | answers the first request with a part | error, bounded |
| changed | has a newer file after the cut | right, the newer one from its first byte |
| changed, unsaid | sends the rest of a newer file, If-Range ignored, with its own ETag | right, the newer one |
| changed size | sends the rest of a newer file of another size, without an ETag | right, the newer one |
| no version | cuts, has no ETag, and no checksum is declared | right, again |
| changed, no versions | sends the rest of a newer file of the same size, and no ETag ever | right, the checksum tells |
| flipped bit | sends one wrong bit | error, the file is kept aside |
| wrong partial | continues a partial that is of another file | right, again |
| too short | says that the file is shorter than it is | error, the file is kept aside |
| stall | falls silent at byte 60000, then behaves | right, continued |
| stall at once | never answers the first request | right |
| drip | sends a byte now and then, then behaves | right |
| compressed | compresses on the way | error at once |
| labelled | calls a .tar.gz's own compression an encoding | right, the checksum tells |
| labelled, no checksum | the same, and no checksum is declared | error at once |
| web page | sends a page that asks to log in, as 200 | error at once |
| web page, partial | the same, when the rest of the file is asked for | error, the partial stays |
| empty | sends nothing, as 200 | error |
| no length | says neither length nor end, and no checksum is declared | error at once |
| no length, cut | says neither, cuts, then behaves | right, the checksum tells |
| chunks | sends chunks | right |
| chunks, cut | cuts within a chunk, then behaves | right, continued |
| short ranges | never sends more than 50000 bytes of a range | right, in five requests |
| unknown whole | chunks, a cut, then ranges of a whole of unknown size | right, asked until there is no more |
| redirect | sends elsewhere | right |
| redirects for ever | sends to itself | error at once |
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters, Patience, fetch_archive
from tests.datasets.loopback import CONTENT, NEWER, SHA256, Answer, Watching, serving

PATIENT = Patience(attempts=3, first_wait=0.001, longest_wait=0.02, read_timeout=20.0, least_bytes=1000)
SLOW = Patience(attempts=3, first_wait=10.0, longest_wait=30.0)
HASTY = Patience(attempts=3, first_wait=0.001, longest_wait=0.02, read_timeout=0.5, least_bytes=1000)

RIGHT = Answer()
CUT = Answer(cut=60_000)
NEW = Answer(content=NEWER, etag='"second"')
PAGE = b"\n<!DOCTYPE html><html><body>Log in first.</body></html>"
GIVEN_UP = "; given up after 3 attempts without progress"
ENDED = f"the connection ended after 60000 of 200000 bytes{GIVEN_UP}"
OTHER = NEWER + CONTENT[180_000:]  # of the same size
FLIPPED = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
NO_LENGTH: dict[str, str | None] = {"Content-Length": None}
FAILS = "the server answers 500 Internal Server Error"
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


def part(place: str | None, **changes: object) -> Answer:
    """An answer to a range with this Content-Range."""
    return Answer(headers={"Content-Range": place}, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """ends: the bytes that are fetched, or the sentence of the error. asked: the ranges asked for, or how many."""

    script: tuple[Answer, ...]
    asked: list[str] | int
    ends: bytes | str = CONTENT
    checksum: str = SHA256
    partial: bytes = b""
    patience: Patience = PATIENT
    name: str = "archive.tar"
    kept: bytes | None = None  # in the partial file
    told: str = ""  # in a line on the way


FAULTS = {
    "honest": Fault(script=(RIGHT,), asked=["all"]),
    "cut": Fault(script=(CUT, RIGHT), asked=["all", "60000-"], checksum=""),
    "cut often": Fault(script=(Answer(cut=50_000),), asked=["all", "50000-", "100000-", "150000-"], checksum=""),
    "reset": Fault(script=(Answer(cut=60_000, reset=True), RIGHT), asked=2, checksum=""),
    "cut in a range": Fault(script=(CUT, CUT, RIGHT), asked=["all", "60000-", "120000-"], checksum=""),
    "no ranges": Fault(script=(CUT, Answer(ranges=False)), asked=["all", "60000-"]),
    "no ranges, cut": Fault(
        script=(Answer(ranges=False, cut=60_000),), asked=4, ends=ENDED, kept=CONTENT[:60_000], told="from byte 60000"
    ),
    "cut for ever": Fault(script=(CUT, Answer(cut=0)), asked=4, ends=ENDED, kept=CONTENT[:60_000]),
    "trickle": Fault(
        script=(Answer(cut=10),),
        asked=3,
        ends=f"the connection ended after 30 of 200000 bytes{GIVEN_UP}",
        kept=CONTENT[:30],
    ),
    "silent": Fault(script=(Answer(raw=b""), RIGHT), asked=2),
    "no HTTP": Fault(script=(Answer(raw=b"\x16\x03garbage\r\n\r\n"), RIGHT), asked=2),
    "429": Fault(
        script=(Answer(status=429, headers={"Retry-After": "0"}), RIGHT), asked=2, patience=SLOW, told="in 0 s"
    ),
    "429, long": Fault(
        script=(Answer(status=429, headers={"Retry-After": "3600"}),),
        asked=1,
        ends="the server answers 429 Too Many Requests and asks to wait 3600 s; run again then",
    ),
    "503, date": Fault(
        script=(Answer(status=503, headers={"Retry-After": DATE}), RIGHT), asked=2, patience=SLOW, told="in 0 s"
    ),
    "500": Fault(script=(Answer(status=500), Answer(status=500), RIGHT), asked=3),
    "500 for ever": Fault(script=(Answer(status=500),), asked=3, ends=FAILS + GIVEN_UP),
    "500 after a cut": Fault(script=(CUT, Answer(status=500), RIGHT), asked=["all", "60000-", "60000-"]),
    "404": Fault(script=(Answer(status=404),), asked=1, ends="the server answers 404 Not Found"),
    "403": Fault(script=(Answer(status=403),), asked=1, ends="the server answers 403 Forbidden"),
    "416, whole": Fault(script=(Answer(status=416),), asked=["200000-"], partial=CONTENT),
    "416, damaged": Fault(script=(Answer(status=416), RIGHT), asked=["200000-", "all"], partial=FLIPPED),
    "416, short": Fault(script=(Answer(status=416), RIGHT), asked=["9-", "all"], partial=CONTENT[:9]),
    "416 after a cut": Fault(
        script=(CUT, Answer(status=416, headers={"Content-Range": "bytes */200000"}), RIGHT),
        asked=["all", "60000-", "all"],
        checksum="",
    ),
    "416, unasked": Fault(script=(Answer(status=416),), asked=1, ends="the server answers 416 .*"),
    "another place": Fault(
        script=(CUT, part("bytes 0-139999/200000", body=CONTENT[:140_000]), RIGHT),
        asked=["all", "60000-", "all"],
        told="asked for the bytes from 60000 on, the server sends 'bytes 0-139999/200000'",
    ),
    "no place": Fault(
        script=(CUT, part(None), RIGHT), asked=["all", "60000-", "all"], told="the server sends 'no Content-Range'"
    ),
    "past the end": Fault(
        script=(CUT, part("bytes 60000-200000/200000", body=CONTENT[60_000:] + b"?"), RIGHT),
        asked=["all", "60000-", "all"],
    ),
    "two lengths": Fault(
        script=(CUT, part("bytes 60000-60999/200000"), RIGHT),
        asked=["all", "60000-", "all"],
        told="140000 bytes as 'bytes 60000-60999/200000'",
    ),
    "wrong ranges": Fault(
        script=(part("bytes 0-139999/200000", cut=60_000),),
        asked=["all", "60000-"] * 3,
        ends=f"asked for the bytes from 60000 on, .*{GIVEN_UP}",
    ),
    "206, unasked": Fault(
        script=(part("bytes 0-199999/200000", status=206),),
        asked=3,
        ends=f"asked for the bytes from 0 on, the server sends 'bytes 0-199999/200000'{GIVEN_UP}",
    ),
    "changed": Fault(script=(CUT, NEW), asked=["all", "60000-"], checksum="", ends=NEWER),
    "changed, unsaid": Fault(
        script=(CUT, Answer(content=OTHER, etag='"2"', if_range=False), NEW),
        asked=["all", "60000-", "all"],
        checksum="",
        ends=NEWER,
        told="the file on the server has changed since the download began",
    ),
    "changed size": Fault(
        script=(CUT, Answer(content=NEWER, etag=None, if_range=False), NEW),
        asked=["all", "60000-", "all"],
        checksum="",
        ends=NEWER,
        told="the file on the server has changed since the download began",
    ),
    "no version": Fault(script=(Answer(etag=None, cut=60_000), NEW), asked=["all", "all"], checksum="", ends=NEWER),
    "changed, no versions": Fault(
        script=(Answer(content=OTHER, etag=None, cut=60_000), Answer(etag=None)),
        asked=["all", "60000-", "all"],
        told="archive.tar: continued, it has a wrong checksum; the download begins again",
    ),
    "flipped bit": Fault(script=(Answer(content=FLIPPED),), asked=1, ends="sha256 is [0-9a-f]{64}, .* or correct .*"),
    "wrong partial": Fault(script=(RIGHT,), asked=["60000-", "all"], partial=NEWER[:60_000]),
    "too short": Fault(script=(Answer(content=CONTENT[:-1]),), asked=1, ends="sha256 is [0-9a-f]{64}, .*"),
    "stall": Fault(
        script=(Answer(cut=60_000, stall=True), RIGHT), asked=["all", "60000-"], checksum="", patience=HASTY
    ),
    "stall at once": Fault(
        script=(Answer(raw=b"HTTP/1.1 200", stall=True), RIGHT), asked=2, patience=HASTY, told="no answer within 0.5 s"
    ),
    "drip": Fault(script=(Answer(cut=2000, drip=0.001), RIGHT), asked=2, patience=HASTY, told="the connection stalled"),
    "compressed": Fault(
        script=(Answer(body=gzip.compress(CONTENT), headers={"Content-Encoding": "gzip"}),),
        asked=1,
        ends="the server sends Content-Encoding: gzip, although asked not to",
    ),
    "labelled": Fault(script=(Answer(headers={"Content-Encoding": "x-gzip"}),), asked=1, name="archive.tar.gz"),
    "labelled, no checksum": Fault(
        script=(Answer(headers={"Content-Encoding": "x-gzip"}),),
        asked=1,
        checksum="",
        name="archive.tar.gz",
        ends="the server sends Content-Encoding: x-gzip, although asked not to; declare dataset.archive.checksum, .*",
    ),
    "web page": Fault(
        script=(Answer(body=PAGE),), asked=1, checksum="", ends="the server sends a web page instead of the archive; .*"
    ),
    "web page, partial": Fault(
        script=(Answer(body=PAGE, ranges=False),),
        asked=["60000-"],
        partial=CONTENT[:60_000],
        ends="the server sends a web page instead of the archive; .*",
        kept=CONTENT[:60_000],
    ),
    "empty": Fault(script=(Answer(body=b""),), asked=1, checksum="", ends="the server sends an empty file"),
    "no length": Fault(
        script=(Answer(headers=NO_LENGTH),), asked=1, checksum="", ends="the server does not say how large .*"
    ),
    "no length, cut": Fault(script=(Answer(headers=NO_LENGTH, cut=60_000), RIGHT), asked=["all", "60000-"]),
    "chunks": Fault(script=(Answer(chunked=True),), asked=1, checksum=""),
    "chunks, cut": Fault(script=(Answer(chunked=True, cut=60_000), RIGHT), asked=["all", "60000-"], checksum=""),
    "short ranges": Fault(script=(CUT, Answer(limit=50_000)), asked=4, checksum=""),
    "unknown whole": Fault(
        script=(
            Answer(chunked=True, cut=60_000),
            part("bytes 60000-99999/*", limit=40_000),
            part("bytes 100000-199999/*"),
            Answer(status=416, headers={"Content-Range": "bytes */200000"}),
        ),
        asked=["all", "60000-", "100000-", "200000-"],
        checksum="",
    ),
    "redirect": Fault(script=(Answer(status=302, headers={"Location": "/elsewhere/a.tar"}), RIGHT), asked=2),
    "redirects for ever": Fault(
        script=(Answer(status=302, headers={"Location": "/archive.tar"}),), asked=11, ends="Exceeded 10 redirects."
    ),
}


def test_the_table_above_is_what_is_tested() -> None:
    rows = re.findall(r"^\| (.+?) \|", __doc__ or "", re.M)[2:]
    assert rows == list(FAULTS)
    assert len(rows) >= 20


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_with_the_right_file_or_a_clear_error(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    target = tmp_path / fault.name
    partial = tmp_path / f"{fault.name}.partial"
    if fault.partial:
        partial.write_bytes(fault.partial)
    watching = Watching(target, CONTENT if isinstance(fault.ends, str) else fault.ends)
    with serving(*fault.script) as server:
        archive = ArchiveParameters(mirrors=(server.address(fault.name),), checksum=fault.checksum)
        if isinstance(fault.ends, bytes):
            assert fetch_archive(archive, tmp_path, watching, fault.patience) == target
            assert target.read_bytes() == fault.ends
        else:
            with pytest.raises(InputError, match="no mirror could be read") as error:
                fetch_archive(archive, tmp_path, watching, fault.patience)
            line = str(error.value).splitlines()[1].removeprefix(f"  {archive.mirrors[0]}: ")
            assert re.fullmatch(fault.ends, line), line
            assert not target.exists()
        assert server.ranges == fault.asked if isinstance(fault.asked, list) else len(server.asked) == fault.asked
    assert fault.told in "\n".join(watching.lines)
    assert (partial.read_bytes() if partial.exists() else None) == fault.kept
