import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.compressor import reconstructed
from cimbench.methods.compression.exemplar import (
    HEADER_BYTES,
    Codec,
    decode_exemplar,
    encode_exemplar,
    encoded_length,
    read_header,
)
from tests.conftest import textured_images

BOXES = {
    "inside": [5, 3, 20, 17],
    "whole": [0, 0, 31, 22],
    "empty": [0, 0, 0, 0],
    "one pixel": [30, 21, 31, 22],
    "first row": [0, 0, 31, 1],
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
@pytest.mark.parametrize("ratio", [2.0, 4.0, 16.0])
def test_raw_bytes_decode_to_the_reconstruction_exactly(box: list[int], ratio: float) -> None:
    image = textured_images(1, 22, 31, 0)[0]
    content = encode_exemplar(image, torch.tensor(box), 7, ratio, Codec())
    assert torch.equal(decode_exemplar(content, Codec()), reconstructed(image[None], torch.tensor([box]), ratio)[0])
    assert len(content) == encoded_length(22, 31, torch.tensor(box), ratio) == read_header(content).length
    assert read_header(content).label == 7


def test_lengths_by_hand() -> None:
    # 10 x 8 pixels, box of 4 x 3, small image of 5 x 4
    assert encoded_length(8, 10, torch.tensor([1, 2, 5, 5]), 4.0) == HEADER_BYTES + 3 * (12 + 20)
    assert encoded_length(8, 10, torch.tensor([0, 0, 10, 8]), 4.0) == HEADER_BYTES + 3 * 80
    assert encoded_length(8, 10, torch.tensor([0, 0, 0, 0]), 4.0) == HEADER_BYTES + 3 * 20
    assert HEADER_BYTES == 28


def test_the_size_moves_with_the_ratio() -> None:
    """In the reference the ratio never reaches the stored size (C3)."""
    image, box = textured_images(1, 32, 32, 0)[0], torch.tensor([4, 4, 8, 8])
    lengths = [len(encode_exemplar(image, box, 0, ratio, Codec())) for ratio in (2.0, 4.0, 9.0)]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == 3


def smooth_image() -> torch.Tensor:
    ramp = torch.linspace(20, 220, 48)
    return torch.stack([ramp.expand(40, 48), ramp.flip(0).expand(40, 48), ramp[:40, None].expand(40, 48)]).to(
        torch.uint8
    )


def test_jpeg_is_near_and_smaller_and_its_quality_matters() -> None:
    image, box = smooth_image(), torch.tensor([8, 8, 30, 30])
    raw = encode_exemplar(image, box, 0, 4.0, Codec())
    contents = {q: encode_exemplar(image, box, 0, 4.0, Codec(name="jpeg", quality=q)) for q in (30, 95)}
    assert len(contents[30]) < len(contents[95]) < len(raw)
    shown = decode_exemplar(contents[95], Codec(name="jpeg"))
    assert shown.shape == image.shape
    exact = decode_exemplar(raw, Codec())
    assert float((shown.float() - exact.float()).abs().mean()) < 4


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
def test_jpeg_handles_every_box(box: list[int]) -> None:
    image = textured_images(1, 22, 31, 0)[0]
    codec = Codec(name="jpeg", quality=90)
    content = encode_exemplar(image, torch.tensor(box), 3, 4.0, codec)
    assert read_header(content).length == len(content)
    assert decode_exemplar(content, codec).shape == image.shape


@pytest.mark.parametrize("box", [[4, 4, 12, 12], [-1, 0, 3, 3], [5, 0, 3, 3]])
def test_a_box_outside_the_image_is_refused(box: list[int]) -> None:
    with pytest.raises(InputError, match="does not lie in the image of 8 x 8 pixels"):
        encode_exemplar(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.tensor(box), 0, 4.0, Codec())


@pytest.mark.parametrize("kept", [3, 40])
def test_cut_bytes_are_told(kept: int) -> None:
    content = encode_exemplar(textured_images(1, 8, 8, 0)[0], torch.tensor([0, 0, 4, 4]), 0, 4.0, Codec())
    with pytest.raises(InputError, match=f"an exemplar (of|has) {kept} bytes.*the memory is damaged"):
        decode_exemplar(content[:kept], Codec())


def test_an_image_too_large_for_the_header_is_refused() -> None:
    with pytest.raises(InputError, match="65535"):
        encode_exemplar(torch.zeros(3, 1, 65536, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), 0, 4.0, Codec())
