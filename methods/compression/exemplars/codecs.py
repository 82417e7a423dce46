"""How the parts of an exemplar become bytes: as pixels, as JPEG, or as WebP."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from cimbench.datasets.errors import InputError, check_choice

CODECS = ("raw", "jpeg", "webp")
_LONGEST_WEBP_SIDE = 16383


@dataclass(frozen=True, kw_only=True)
class Codec:
    """name: "raw" (uint8 pixels, exact), "jpeg" or "webp" (both lossy) at a quality of 1 to 100."""

    name: str = "raw"
    quality: int = 90

    def __post_init__(self) -> None:
        check_choice("codec", self.name, CODECS)
        if not 1 <= self.quality <= 100:
            raise InputError(f"quality of codec {self.name} is {self.quality}; give 1 to 100")
        if self.name == "webp" and not features.check("webp"):
            raise InputError("codec webp is not in this machine's Pillow; install one with WebP, or choose jpeg")

    @property
    def is_raw(self) -> bool:
        """Whether bytes are pixels."""
        return self.name == "raw"

    def encode(self, part: Tensor) -> NDArray[np.uint8]:
        """(3, h, w) uint8 on the CPU -> (n,); an empty part gives no bytes."""
        if part.numel() == 0:
            return np.empty(0, dtype=np.uint8)
        if self.name == "raw":
            return part.contiguous().numpy().reshape(-1)
        if self.name == "jpeg":
            from torchvision.io import encode_jpeg

            encoded: NDArray[np.uint8] = encode_jpeg(part.contiguous(), self.quality).numpy()
            return encoded
        if max(part.shape[1:]) > _LONGEST_WEBP_SIDE:
            raise InputError(
                f"a part of {part.shape[1]} x {part.shape[2]} pixels: WebP takes sides up to {_LONGEST_WEBP_SIDE}; "
                "use jpeg"
            )
        file = BytesIO()
        Image.fromarray(part.permute(1, 2, 0).contiguous().numpy()).save(file, "WEBP", quality=self.quality)
        return np.frombuffer(file.getvalue(), dtype=np.uint8)

    def decode(self, content: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        """(n,) -> (3, height, width); InputError where the bytes are not a picture of that size."""
        try:
            part = self._decoded(content, height, width)
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(
                f"{len(content)} bytes are no {self.name} picture ({error}); the memory is damaged"
            ) from error
        if part.shape != (3, height, width):
            raise InputError(
                f"a {self.name} picture has {part.shape[1]} x {part.shape[2]} pixels, its header says "
                f"{height} x {width}; the memory is damaged"
            )
        return part

    def _decoded(self, content: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        if self.name == "raw":
            return content.reshape(3, height, width)
        if self.name == "jpeg":
            from torchvision.io import ImageReadMode, decode_jpeg

            picture: Tensor = decode_jpeg(torch.from_numpy(content.copy()), mode=ImageReadMode.RGB)
            pixels: NDArray[np.uint8] = picture.numpy()
            return pixels
        with Image.open(BytesIO(content.tobytes()), formats=["WEBP"]) as image:
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


RAW = Codec()
