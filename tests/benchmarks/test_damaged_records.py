"""A record, a split and a file of arrays that were damaged or edited are refused in words, wherever the damage is."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cimbench.benchmarks.records.places import FILE_NAME
from cimbench.benchmarks.records.record import load_record, record_from_json
from cimbench.datasets.arrays import load_arrays, save_arrays
from cimbench.datasets.errors import InputError
from tests.benchmarks.records import record
from tests.conftest import ROOT


def test_any_changed_byte_of_a_record_is_seen(tmp_path: Path) -> None:
    """A digit of a count is data to JSON; the digest tells. Spaces between values carry nothing."""
    made = record_from_json(record(1, [[8], [4, 6]]).as_json())
    made.save(tmp_path)
    whole = (tmp_path / FILE_NAME).read_bytes()
    assert load_record(tmp_path) == made
    random = np.random.default_rng(0)
    for place in random.choice(len(whole), 300, replace=False):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(random.integers(7))
        (tmp_path / FILE_NAME).write_bytes(bytes(changed))
        try:
            assert load_record(tmp_path) == made  # white space: the content is the same
        except InputError as error:
            assert FILE_NAME in str(error) and "run the cell again" in str(error)


def test_a_number_edited_by_hand_is_seen(tmp_path: Path) -> None:
    record(1, [[8], [4, 6]]).save(tmp_path)
    content = json.loads((tmp_path / FILE_NAME).read_text())
    content["phases"][0]["correct"]["linear"] = [9]
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(InputError, match="was changed after it was written"):
        load_record(tmp_path)


def test_records_without_a_digest_are_read(tmp_path: Path) -> None:
    made = record_from_json(record(1, [[8], [4, 6]]).as_json())
    (tmp_path / FILE_NAME).write_text(json.dumps(made.as_json()))
    assert load_record(tmp_path) == made


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"phases": 3}', b'{"phases": [3]}']
)
def test_no_record_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(InputError, match=r"record.json: is damaged"):
        load_record(tmp_path)


def test_arrays_damaged_anywhere_are_answered_in_words(tmp_path: Path) -> None:
    """Every byte of zip's headers and directory and of NumPy's headers, flipped: refused, or without effect."""
    path, arrays = tmp_path / "a.npz", {"x": np.arange(6, dtype=np.int16), "y": np.ones((2, 2), dtype=np.float32)}
    save_arrays(path, arrays, {"name": "é"})
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        for flip in (0x01, 0x80):
            changed = bytearray(whole)
            changed[place] ^= flip
            path.write_bytes(bytes(changed))
            try:
                found, description = load_arrays(path)
            except InputError as error:
                refused += 1
                assert "a.npz: is damaged" in str(error)
            else:  # a field that nobody reads: time stamps and the like
                assert description == {"name": "é"}
                for name in arrays.keys() & found.keys():
                    np.testing.assert_array_equal(found[name], arrays[name])
    assert refused > len(whole)


def test_an_encrypted_or_odd_archive_is_answered_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\x10\x00(((((((((((((((\n")
    with pytest.raises(InputError, match="is damaged"):
        load_arrays(path)


def test_committed_records_are_read(tmp_path: Path) -> None:
    found = sorted((ROOT / "results").glob("*/cells/*/*/record.json"))
    assert found
    shutil.copy(found[0], tmp_path / FILE_NAME)
    assert load_record(tmp_path).complete
