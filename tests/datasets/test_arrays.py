from pathlib import Path

import numpy as np
import pytest

from cimbench.datasets.arrays import load_arrays, save_arrays, write_atomically
from cimbench.datasets.errors import InputError


def test_round_trip_is_exact_and_bytes_are_reproducible(tmp_path: Path) -> None:
    arrays = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "empty": np.empty((0, 4), dtype=np.int64)}
    for name in ("one", "two"):
        save_arrays(tmp_path / name, arrays, {"n": 1})
    loaded, description = load_arrays(tmp_path / "one")
    assert description == {"n": 1}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_detected(tmp_path: Path, where: float) -> None:
    path = tmp_path / "store.npz"
    save_arrays(path, {"pixels": np.arange(5000, dtype=np.uint8)}, {})
    content = bytearray(path.read_bytes())
    content[int(5000 * where)] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"store\.npz: is damaged"):
        load_arrays(path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, evil=np.array([print], dtype=object))
    with pytest.raises(InputError, match="damaged"):
        load_arrays(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
