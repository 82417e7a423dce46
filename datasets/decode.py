"""Image files to RGB pictures: whatever the file's colour model or format."""

from __future__ import annotations

import io
import tarfile
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.datasets.image_store import ImageStore

PIXEL_LIMIT = 100_000_000


def open_rgb(content: bytes, pixel_limit: int = PIXEL_LIMIT) -> tuple[Image.Image, bool]:
    """The file's picture as RGB, and whether the file is a JPEG that decoders read as such (RGB or grayscale).

    Grayscale, palette, CMYK and transparent pictures become RGB. Raises OSError where the file is no whole picture, or
    says that it has more than pixel_limit pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # pixel_limit is ours
        try:
            with Image.open(io.BytesIO(content)) as opened:
                if opened.width * opened.height > pixel_limit:
                    size = f"{opened.width} x {opened.height}"
                    raise OSError(f"says it has {size} pixels, dataset.prepare.pixel_limit is {pixel_limit}")
                plain = opened.format == "JPEG" and opened.mode in ("RGB", "L")
                return opened.convert("RGB"), plain
        except UnidentifiedImageError as error:
            raise OSError("is no picture" if content else "is empty") from error
        except (SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise OSError(str(error)) from error


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


def read_photographs(archive: Path) -> ImageStore:
    """All pictures of a tar archive, read in memory; InputError where it is absent or damaged."""
    try:
        with tarfile.open(archive, mode="r:") as members:
            files = [members.extractfile(member) for member in members if member.isfile()]
            images = [decode_rgb(file.read()) for file in files if file is not None]
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{archive}: cannot be read ({error}); name an uncompressed tar of photographs") from error
    return ImageStore.from_images(images, [0] * len(images))
