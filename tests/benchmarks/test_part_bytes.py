"""The table of what box and small image take: by hand on raw pixels, and what it refuses."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cimbench.benchmarks.report.compressors import part_bytes


def archive(folder: Path, side: int = 32) -> Path:
    """Two pictures of noise."""
    with zipfile.ZipFile(folder / "pictures.zip", "w") as made:
        for number in range(2):
            pixels = np.random.RandomState(number).randint(0, 256, (side, side, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG")
            made.writestr(f"{number}.jpg", file.getvalue())
    return folder / "pictures.zip"


def test_raw_bytes_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """32 x 32 with a box of 16 x 16: 3 * 1024 + 32 whole; 3 * (256 + 256) + 32 with 64 hidden pixels, or without."""
    found = part_bytes.table([(archive(tmp_path), 0.25, None)]).iloc[0]
    assert found["with waste"] == round((3 * 512 + 32) / (3 * 1024 + 32), 3)
    assert found["as stored"] == round((3 * (512 - 64) + 32) / (3 * 1024 + 32), 3)
    assert found["paper units"] == round(0.25 + 0.75 / 4, 3)
    monkeypatch.chdir(tmp_path)
    assert part_bytes.main([f"{tmp_path}/pictures.zip:0.25:16"]) == 0
    assert "| raw " in (tmp_path / "results/compression/part-bytes.md").read_text()
    assert "Written: results/compression/part-bytes.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "no archive is named"), (["x.zip"], "x.zip: give ARCHIVE:SHARE"), (["x.zip:0.5"], "x.zip: cannot be read")],
)
def test_bad_input_is_named(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert part_bytes.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
