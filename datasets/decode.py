"""Image files to RGB arrays: whatever the file's colour model or format, and every bad one listed."""

from __future__ import annotations

import io
import tarfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.datasets.image_store import ImageStore


def decode_rgb(content: bytes, short_side: int | None = None) -> Tensor:
    """The file's picture as (3, H, W) uint8 RGB, antialiased down to `short_side` pixels (never enlarged).

    Grayscale, palette, CMYK and transparent pictures become RGB. Raises OSError where the file is no whole picture.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content)) as opened:
                picture = opened.convert("RGB")
        except UnidentifiedImageError as error:
            raise OSError("is no picture" if content else "is empty") from error
        except (SyntaxError, Image.DecompressionBombWarning) as error:
            raise OSError(str(error)) from error
    if short_side is not None and min(picture.size) > short_side:
        scale = short_side / min(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def decode_all(
    files: Iterable[tuple[str, bytes]], origin: str, short_side: int | None, advance: Callable[[], None]
) -> list[Tensor]:
    """Decode every file; when some cannot be decoded, one InputError lists all of them."""
    images: list[Tensor] = []
    bad: list[str] = []
    for name, content in files:
        try:
            images.append(decode_rgb(content, short_side))
        except OSError as error:
            bad.append(f"  {name}: {error}")
        advance()
    if bad:
        lines = "\n".join(bad)
        raise InputError(f"{origin}: {len(bad)} images cannot be decoded; replace them or fetch again:\n{lines}")
    return images


def read_photographs(archive: Path) -> ImageStore:
    """All pictures of a tar archive, read in memory; InputError where it is absent or damaged."""
    try:
        with tarfile.open(archive, mode="r:") as members:
            files = [members.extractfile(member) for member in members if member.isfile()]
            images = [decode_rgb(file.read()) for file in files if file is not None]
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{archive}: cannot be read ({error}); name an uncompressed tar of photographs") from error
    return ImageStore.from_images(images, [0] * len(images))
