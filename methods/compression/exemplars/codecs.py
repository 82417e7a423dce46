"""How the parts of an exemplar become bytes: as pixels, or as JPEG, WebP or AVIF without what all pictures share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from cimbench.datasets.errors import InputError, check_choice
from cimbench.methods.compression.exemplars.containers import Container, container

CODECS = ("raw", "jpeg", "webp", "avif")
_LONGEST_SIDE = {"jpeg": 65500, "webp": 16383, "avif": 65535}  # that each library takes
_OPTIONS: dict[str, dict[str, int]] = {"webp": {}, "avif": {"speed": 8, "max_threads": 1}}  # threads are ours
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Codec:
    """name: "raw" (uint8 pixels, exact), "jpeg", "webp" or "avif" (all lossy) at a quality of 1 to 100."""

    name: str = "raw"
    quality: int = 90

    def __post_init__(self) -> None:
        check_choice("codec", self.name, CODECS)
        if not 1 <= self.quality <= 100:
            raise InputError(f"quality of codec {self.name} is {self.quality}; give 1 to 100")
        if self.name in ("webp", "avif") and not features.check(self.name):
            kind = {"webp": "WebP", "avif": "AVIF"}[self.name]
            raise InputError(
                f"codec {self.name} is not in this machine's Pillow; install one with {kind}, or choose jpeg"
            )

    @property
    def is_raw(self) -> bool:
        """Whether bytes are pixels."""
        return self.name == "raw"

    @cached_property
    def shared(self) -> bytes:
        """What a memory of such parts holds once; nothing for pixels."""
        return b"" if self.is_raw else _container(self).shared

    def encode(self, part: Tensor) -> Bytes:
        """(3, h, w) uint8 on the CPU -> (n,); an empty part gives no bytes. InputError for other pixels."""
        if part.dtype != torch.uint8 or part.ndim != 3 or len(part) != 3:
            raise InputError(f"a part is {part.dtype} {tuple(part.shape)}; give (3, h, w) uint8")
        if part.numel() == 0:
            return np.empty(0, dtype=np.uint8)
        if self.is_raw:
            return part.contiguous().numpy().reshape(-1)
        height, width = part.shape[1:]
        if max(height, width) > _LONGEST_SIDE[self.name]:
            raise InputError(
                f"a part of {height} x {width} pixels: {self.name} takes sides up to {_LONGEST_SIDE[self.name]}; "
                "reduce the images first, or use raw bytes"
            )
        return np.frombuffer(_container(self).stripped(_picture(self, part), height, width), dtype=np.uint8)

    def picture(self, content: Bytes, height: int, width: int) -> bytes:
        """The ordinary picture, a file's content, whose own bytes are `content`."""
        return _container(self).restored(content.tobytes(), height, width)

    def decode(self, content: Bytes, height: int, width: int) -> Bytes:
        """(n,) -> (3, height, width); InputError where the bytes are not a picture."""
        if len(content) == 0 or (self.is_raw and len(content) != 3 * height * width):
            raise InputError(
                f"{len(content)} bytes are no {self.name} picture of {height} x {width} pixels; the memory is damaged"
            )
        if self.is_raw:
            return content.reshape(3, height, width)
        try:
            return self._pixels(self.picture(content, height, width))
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(
                f"{len(content)} bytes are no {self.name} picture ({error}); the memory is damaged"
            ) from error

    def _pixels(self, picture: bytes) -> Bytes:
        if self.name == "jpeg":
            from torchvision.io import ImageReadMode, decode_jpeg

            content = torch.frombuffer(bytearray(picture), dtype=torch.uint8)
            pixels: Bytes = decode_jpeg(content, mode=ImageReadMode.RGB).numpy()
            return pixels
        with Image.open(BytesIO(picture), formats=[self.name.upper()]) as image:
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def _picture(codec: Codec, part: Tensor) -> bytes:
    """(3, h, w) uint8 on the CPU as an ordinary picture."""
    if codec.name == "jpeg":
        from torchvision.io import encode_jpeg

        encoded: Bytes = encode_jpeg(part.contiguous(), codec.quality).numpy()
        return encoded.tobytes()
    file = BytesIO()
    pixels = part.permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(file, codec.name.upper(), quality=codec.quality, **_OPTIONS[codec.name])
    return file.getvalue()


@lru_cache(maxsize=128)
def _container(codec: Codec) -> Container:
    return container(codec.name, _picture(codec, torch.full((3, 8, 8), 128, dtype=torch.uint8)))


RAW = Codec()
