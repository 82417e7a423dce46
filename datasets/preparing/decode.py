"""Image files to RGB pictures: whatever the file's colour model or format."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

PIXEL_LIMIT = 100_000_000
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # Pillow's names; some of its others run programs


def open_rgb(content: bytes, pixel_limit: int = PIXEL_LIMIT) -> tuple[Image.Image, bool]:
    """The file's picture as RGB, and whether the file is a JPEG that decoders read as such (RGB or grayscale).

    Grayscale, palette, CMYK, transparent and 16-bit pictures become RGB of 8 bits. Raises OSError where the file is no
    whole picture, or says that it has more than pixel_limit pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            if opened.width * opened.height > pixel_limit:
                size = f"{opened.width} x {opened.height}"
                raise OSError(f"says it has {size} pixels, dataset.prepare.pixel_limit is {pixel_limit}")
            plain = opened.format == "JPEG" and opened.mode in ("RGB", "L")
            return _as_rgb(opened), plain
    except UnidentifiedImageError as error:
        raise OSError("is no picture" if content else "is empty") from error
    except Image.DecompressionBombError as error:
        raise OSError(f"says it has more pixels than dataset.prepare.pixel_limit, which is {pixel_limit}") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything about a broken file
        raise OSError(str(error) or type(error).__name__) from error


def _as_rgb(opened: Image.Image) -> Image.Image:
    """Any picture as RGB; of 16 bits the high 8, where Pillow would clip."""
    if opened.mode.startswith("I"):
        values = np.asarray(opened)
        if values.min() < 0 or values.max() >= 1 << 16:
            raise OSError("has whole numbers of more than 16 bits as its pixels")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if opened.mode == "F":
        raise OSError("has fractions as its pixels")
    return opened.convert("RGB")


def reduced(picture: Image.Image, short_side: int | None) -> Image.Image:
    """The picture with its shorter side reduced to short_side pixels, antialiased; never enlarged."""
    if short_side is None or min(picture.size) <= short_side:
        return picture
    scale = short_side / min(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR)


def decode_rgb(content: bytes, short_side: int | None = None) -> Tensor:
    """The file's picture as (3, H, W) uint8 RGB, reduced to short_side; OSError where it is no whole picture."""
    picture, _ = open_rgb(content)
    return torch.from_numpy(np.array(reduced(picture, short_side))).permute(2, 0, 1)
