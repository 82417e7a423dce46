"""Object boxes: read from ImageNet's annotations in every packing, and scaled with their pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cimbench.datasets.errors import InputError
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare, scaled_boxes
from cimbench.datasets.progress import no_progress
from cimbench.datasets.reading.annotations import NO_BOX, around
from cimbench.datasets.reading.imagenet import read_imagenet
from tests.datasets.ilsvrc import Mini, annotation, parameters, tar_bytes, write_archives

# as ImageNet writes them
CHIHUAHUA = b"""<annotation>
	<folder>02085620</folder>
	<filename>n02085620_10074</filename>
	<size><width>333</width><height>500</height><depth>3</depth></size>
	<object>
		<name>n02085620</name>
		<bndbox>
			<xmin>25</xmin>
			<ymin>10</ymin>
			<xmax>276</xmax>
			<ymax>498</ymax>
		</bndbox>
	</object>
</annotation>"""


def test_boxes_are_read_and_joined() -> None:
    assert around(CHIHUAHUA, "x") == (25, 10, 276, 498)
    assert around(annotation((5, 6, 7, 9), (1, 8, 6, 12)), "x") == (1, 6, 7, 12)
    assert around(annotation((-3, 0, 7, 9)), "x") == (0, 0, 7, 9)
    assert around(CHIHUAHUA.replace(b">25<", b">25.7<").replace(b">276<", b"> 275.2 <"), "x") == (25, 10, 276, 498)
    assert around(annotation(), "x") == NO_BOX


@pytest.mark.parametrize("broken", [b"<xmin>25</xmin>", b"</xmax>", b">10<"])
def test_half_boxes_are_told(broken: bytes) -> None:
    with pytest.raises(InputError, match=r"a.xml: has an object box without its four edges"):
        around(CHIHUAHUA.replace(broken, b""), "a.xml")


@pytest.mark.parametrize("packing", ["folders", "tars", "compressed tars"])
def test_a_pictures_box_is_around_its_objects(packing: str, tmp_path: Path) -> None:
    mini = Mini.make(per_class=1)
    write_archives(mini, tmp_path)
    place = 11
    synset = mini.synsets[place]
    (train,) = mini.train[synset]
    val = list(mini.val)[mini.truth.index(synset)]
    xml = {f"{synset}/{train[:-5]}.xml": annotation((1, 2, 3, 4), (2, 1, 6, 5)), f"{synset}/other.xml": annotation()}
    if packing != "folders":
        mode, suffix = ("w", "tar") if packing == "tars" else ("w:gz", "tar.gz")
        xml = {f"{synset}.{suffix}": tar_bytes({f"Annotation/{name}": text for name, text in xml.items()}, mode)}
    (tmp_path / "bbox_train.tar.gz").write_bytes(tar_bytes(xml, "w:gz"))
    (tmp_path / "bbox_val.tgz").write_bytes(tar_bytes({f"val/{val[:-5]}.xml": annotation((0, 0, 5, 5))}, "w:gz"))
    boxes = {"train_boxes": str(tmp_path / "bbox_train.tar.gz"), "val_boxes": str(tmp_path / "bbox_val.tgz")}
    found = read_imagenet(parameters(tmp_path, **boxes), tmp_path / "archives", no_progress, "imagenet1000")
    store = prepare(found, PrepareParameters(), tmp_path / "store", tmp_path / "partial")
    mine = [store.names.index(name) for name in (f"train/{synset}/{train}", f"val/{synset}/{val}")]
    assert store.boxes[mine].tolist() == [[1, 1, 6, 5], [0, 0, 5, 5]]
    assert int((store.boxes[:, 0] >= 0).sum()) == 2
    small = prepare(found, PrepareParameters(short_side=4), tmp_path / "small", tmp_path / "partial")
    width, height = 9 + place % 7, 8 + place % 7 % 3
    scale = 4 / min(width, height)
    by_hand = [int(1 * scale), int(1 * scale), -int(-6 * round(width * scale) // width), -int(-5 * 4 // height)]
    assert small.boxes[mine[0]].tolist() == by_hand


def test_boxes_of_other_pictures_are_told(tmp_path: Path) -> None:
    write_archives(Mini.make(per_class=1), tmp_path)
    (tmp_path / "boxes.tar").write_bytes(tar_bytes({"other.xml": annotation((1, 1, 2, 2))}))
    with pytest.raises(InputError, match="none of their boxes is of these pictures"):
        how = parameters(tmp_path, train_boxes=str(tmp_path / "boxes.tar"))
        read_imagenet(how, tmp_path / "archives", no_progress, "imagenet100")


def test_an_archive_of_annotations_that_explodes_is_refused(tmp_path: Path) -> None:
    write_archives(Mini.make(per_class=1), tmp_path)
    bomb = tar_bytes({"a.xml": bytes(300 << 20)}, "w:gz")
    (tmp_path / "boxes.tar").write_bytes(tar_bytes({"n01440764.tar.gz": bomb}))
    with pytest.raises(InputError, match=r"n01440764.tar.gz: unpacks to more than 268 MB"):
        how = parameters(tmp_path, train_boxes=str(tmp_path / "boxes.tar"))
        read_imagenet(how, tmp_path / "archives", no_progress, "imagenet100")


def test_scaled_boxes_by_hand() -> None:
    """Halved, kept, rounded outwards by a third, cut at the edge, absent, outside, inside out."""
    boxes = [[2, 4, 6, 8], [1, 2, 3, 4], [1, 1, 2, 2], [5, 5, 50, 50], [-1] * 4, [20, 0, 30, 5], [6, 2, 3, 4]]
    originals = [[10, 20], [10, 20], [9, 9], [10, 20], [10, 20], [10, 20], [10, 20]]
    sizes = [[5, 10], [10, 20], [3, 3], [5, 10], [5, 10], [5, 10], [5, 10]]
    expected = [[1, 2, 3, 4], [1, 2, 3, 4], [0, 0, 1, 1], [2, 2, 10, 5], [-1] * 4, [-1] * 4, [-1] * 4]
    assert scaled_boxes(torch.tensor(boxes), torch.tensor(originals), torch.tensor(sizes)).tolist() == expected


sides = st.integers(1, 5000)


@given(sides, sides, sides, sides, st.data())
def test_a_scaled_box_holds_the_object_and_no_more_than_a_pixel_besides(
    height: int, width: int, new_height: int, new_width: int, data: st.DataObject
) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    originals, sizes = torch.tensor([[height, width]]), torch.tensor([[new_height, new_width]])
    found = scaled_boxes(torch.tensor([[x0, y0, x1, y1]]), originals, sizes)[0].tolist()
    exact = [x0 * new_width / width, y0 * new_height / height, x1 * new_width / width, y1 * new_height / height]
    for low, high in ((0, 2), (1, 3)):
        assert exact[low] - 1 < found[low] <= exact[low] + 1e-9
        assert exact[high] - 1e-9 <= found[high] < exact[high] + 1
        assert 0 <= found[low] < found[high] <= (new_width, new_height)[low]
