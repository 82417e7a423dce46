from pathlib import Path

import pytest
import torch
from PIL import Image

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.images.packed_store import open_store, save_store
from cimbench.datasets.images.pixels import InMemory
from tests.conftest import textured_images


def ragged() -> ImageStore:
    images = [textured_images(1, h, w, seed)[0] for seed, (h, w) in enumerate([(5, 7), (3, 3), (5, 7), (8, 2)])]
    return ImageStore.from_images(
        images,
        [0, 1, 0, 1],
        class_names=("a", "b"),
        names=("p", "q", "r", "s"),
        is_test=torch.tensor([False, True, False, False]),
        boxes=torch.arange(16).view(4, 4),
    )


def test_images_of_varying_size_come_back_exactly() -> None:
    store = ragged()
    assert store.uniform_size is None
    assert len(store.pixels.bytes) == 3 * (35 + 9 + 35 + 16)  # nothing is padded
    for index, (h, w) in enumerate([(5, 7), (3, 3), (5, 7), (8, 2)]):
        assert torch.equal(store.image(index), textured_images(1, h, w, index)[0])
    assert sorted(tuple(group.tolist()) for group in store.same_size_groups()) == [(0, 2), (1,), (3,)]


@pytest.mark.parametrize("sizes", ["ragged", "uniform"])
def test_subset_takes_everything_that_belongs_to_an_image(sizes: str) -> None:
    store = ragged() if sizes == "ragged" else ragged().subset(torch.tensor([0, 2]))
    picked = store.subset(torch.tensor([1, 0]))
    for new, old in enumerate([1, 0]):
        assert torch.equal(picked.image(new), store.image(old))
        assert picked.names[new] == store.names[old]
        assert picked.labels[new] == store.labels[old]
        assert torch.equal(picked.boxes[new], store.boxes[old])
        assert picked.is_test[new] == store.is_test[old]


def test_saved_and_loaded_store_has_the_same_digest(tmp_path: Path) -> None:
    save_store(ragged(), tmp_path / "s")
    loaded = open_store(tmp_path / "s")
    assert loaded.digest == ragged().digest
    assert loaded.class_names == ("a", "b")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": torch.tensor([0, 1, 1, 1])},
        {"names": ("p", "q", "r", "t")},
        {"is_test": torch.zeros(4, dtype=torch.bool)},
    ],
)
def test_any_change_moves_the_digest(change: dict[str, object]) -> None:
    from dataclasses import replace

    assert replace(ragged(), **change).digest != ragged().digest  # type: ignore[arg-type]


def test_squashing_is_close_to_pillow() -> None:
    store = ImageStore.from_images([textured_images(1, 40, 24, 0)[0]], [0])
    ours = store.resized(16)[0].permute(1, 2, 0).numpy()
    picture = Image.fromarray(store.image(0).permute(1, 2, 0).contiguous().numpy())
    pillow = torch.from_numpy(__import__("numpy").array(picture.resize((16, 16), Image.Resampling.BILINEAR)))
    assert (torch.from_numpy(ours).int() - pillow.int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("content", "lengths", "words"),
    [
        (torch.zeros(15, dtype=torch.uint8), [12], "sizes add up to 12 bytes, the pixels have 15"),
        (torch.zeros(12), [12], "pixels are torch.float32"),
        (torch.zeros(3, 4, dtype=torch.uint8), [12], r"torch.uint8 \(3, 4\); give \(Q,\) uint8"),
        (torch.zeros(12, dtype=torch.uint8), [5, 7], "lengths of 2 images are not those of the 1 sizes"),
        (torch.zeros(12, dtype=torch.uint8), [11], "lengths of 1 images are not those of the 1 sizes"),
        (torch.zeros(12, dtype=torch.uint8), [], "lengths of 0 images are not those of the 1 sizes"),
    ],
)
def test_inconsistent_stores_are_refused(content: torch.Tensor, lengths: list[int], words: str) -> None:
    pixels = InMemory(content, torch.tensor(lengths, dtype=torch.int64))
    with pytest.raises(InputError, match=words):
        ImageStore(pixels=pixels, sizes=torch.tensor([[2, 2]]), labels=torch.tensor([0]))


def test_a_store_of_nothing_and_of_one() -> None:
    none = ImageStore.from_images([], [])
    assert (len(none), none.uniform_size, none.resized(4).shape) == (0, None, (0, 3, 4, 4))
    assert none.subset(torch.empty(0, dtype=torch.int64)).digest == none.digest
    one = ImageStore.from_images(list(textured_images(1, 4, 5, 0)), [0])
    assert torch.equal(one.stacked(torch.tensor([0]))[0], one.image(0))


def test_a_digest_that_is_known_is_not_a_changed_copys() -> None:
    from dataclasses import replace

    store = replace(ragged(), known_digest="told")
    assert store.digest == "told"
    assert store.computed_digest() == replace(store, damaged=()).digest == ragged().digest
