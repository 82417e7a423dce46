"""The pictures and curves of docs/compression.md: what they draw and count, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.report.compressors import compressor_pictures, eta_curves
from cimbench.benchmarks.report.compressors import sample_photographs as photographs
from cimbench.benchmarks.report.compressors.compressor_pictures import Stored, parts, shares, stored
from cimbench.benchmarks.report.compressors.sample_photographs import (
    OBJECT_BOXES,
    random_crops,
    read_photographs,
    sample_photographs,
)
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.networks.network import Network, NetworkParameters
from tests.conftest import ROOT, table_rows, textured_images
from tests.methods.box_cases import read_by_pillow


def network() -> Network:
    values = NetworkParameters(architecture="resnet8", stem="strided", width=2, input_side=32)
    made = Network(values, torch.Generator().manual_seed(0))
    made.head.grow(2, torch.Generator().manual_seed(0))
    return made


def test_parts_are_what_is_stored() -> None:
    photos = sample_photographs()
    held = stored("object_box", photos, network())
    for i, (x0, y0, x1, y1) in enumerate(OBJECT_BOXES):
        crop, small = parts(held.raw, i)
        assert torch.equal(crop, photos.image(i)[:, y0:y1, x0:x1])
        assert small.shape == (3, 213, 320)
        expected = photos.image(i)[:, 1:427:2, 1:640:2].clone()
        expected[:, ~torch.from_numpy(read_by_pillow((427, 640), (213, 320), [x0, y0, x1, y1]))] = 255  # not stored
        assert torch.equal(small, expected)
    (whole,) = parts(stored("none", photos, network()).raw, 1)
    assert torch.equal(whole, photos.image(1))


def test_shares_in_three_units_by_hand() -> None:
    photos = sample_photographs()
    plain = stored("none", photos, network())
    full = stored("full", photos, network())
    assert shares(plain, plain) == [dict.fromkeys(("paper units", "raw bytes", "coded bytes"), 1.0)] * 2
    for i, costs in enumerate(shares(full, plain)):
        assert costs["paper units"] == 0.25
        assert costs["raw bytes"] == pytest.approx((32 + 3 * 213 * 320) / (32 + 3 * 427 * 640))
        assert costs["coded bytes"] == pytest.approx(int(full.coded.lengths[i]) / int(plain.coded.lengths[i]))
    jpeg = stored("jpeg", photos, network())
    assert shares(Stored(jpeg.raw, jpeg.coded), plain)[0]["paper units"] == 1


def test_crops_carry_their_pictures_label() -> None:
    colours = [torch.full((3, 30, 40), value, dtype=torch.uint8) for value in (10, 200)]
    crops = random_crops(ImageStore.from_images(colours, [0, 1]), 5, "test")
    assert crops.labels.tolist() == [0] * 5 + [1] * 5
    assert [int(crops.image(i).max()) for i in range(10)] == [10] * 5 + [200] * 5


def test_curves_count_bytes() -> None:
    photos = ImageStore.from_images([*textured_images(2, 40, 60, 0), *textured_images(1, 31, 31, 1)], [0, 0, 0])
    steps: list[tuple[int, int]] = []
    table = eta_curves.measured(photos, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (len(steps), len(steps))
    line = table[(table["way"] == "raw pixels") & (table["box"] == "no box") & (table["eta"] == 4.0)].iloc[0]
    each = [(32 + 3 * 20 * 30) / (32 + 3 * 40 * 60)] * 2 + [(32 + 3 * 15 * 15) / (32 + 3 * 31 * 31)]
    assert line["mean"] == pytest.approx(sum(each) / 3)
    assert (line["lowest"], line["highest"]) == (pytest.approx(min(each)), pytest.approx(max(each)))
    paper = table[(table["way"] == "paper units") & (table["box"] == "no box")]
    assert paper["mean"].tolist() == pytest.approx([1 / eta for eta in eta_curves.ETAS])


def test_centre_boxes_by_hand() -> None:
    assert eta_curves.centre_boxes(torch.tensor([[20, 40]]), 0.25).tolist() == [[10, 5, 30, 15]]


@pytest.mark.slow
def test_the_command_draws_every_compressor(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIMBENCH_SHARED", str(workspace / "nowhere"))
    monkeypatch.setattr(photographs, "_CROPS", 24)  # what is asserted of pictures needs no well-trained network
    (workspace / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert main(["pictures"]) == 0
    assert "nowhere/data/imagenet-samples-64.tar is absent" in capsys.readouterr().out
    drawn = {path.stem for path in (workspace / "results/compression").glob("*.jpg")}
    assert drawn == set(compressor_pictures.COMPRESSORS)
    here, committed = (
        table_rows((folder / "results/compression/costs.md").read_text()) for folder in (workspace, ROOT)
    )
    # the others' boxes follow the machine's rounding
    without_network = {"none", "full", "object_box", "jpeg", "webp", "avif"}
    for mine, theirs in zip(here, committed, strict=True):
        assert mine["compressor"] == theirs["compressor"]
        assert mine == theirs or mine["compressor"] not in without_network


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "photos.tar"
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"photos\.tar: cannot be read .*; name an uncompressed tar of photographs"):
        read_photographs(path)
