"""How a data set's pictures are kept once they are prepared."""

from __future__ import annotations

from dataclasses import dataclass

from cimbench.datasets.errors import InputError, check_at_least, check_choice

KINDS = ("raw", "jpeg", "original")
PIXELS_AT_MOST = 178_956_970  # Pillow refuses more


@dataclass(frozen=True, kw_only=True)
class PrepareParameters:
    """short_side: pixels to which the shorter side is reduced, antialiased, never enlarged; None keeps sizes.

    encoding: "raw" pixels; "jpeg" of `quality`; or "original", the files' own bytes (short_side None), of which those
    that are no RGB or grayscale JPEG are encoded again with `quality`. damaged_limit: pictures that may be undecodable;
    they are left out, and listed in the index and in the splits. pixel_limit: a picture with more pixels counts as
    damaged.
    """

    short_side: int | None = None
    encoding: str = "raw"
    quality: int = 95
    damaged_limit: int = 0
    pixel_limit: int = 100_000_000

    def __post_init__(self) -> None:
        check_choice("dataset.prepare.encoding", self.encoding, KINDS)
        if self.short_side is not None:
            check_at_least("dataset.prepare.short_side", self.short_side, 1)
            if self.encoding == "original":
                raise InputError(
                    f"dataset.prepare.short_side is {self.short_side} and dataset.prepare.encoding is original, which "
                    "keeps the files as they are; set short_side to null, or encoding to jpeg or raw"
                )
        if not 1 <= self.quality <= 100:
            raise InputError(f"dataset.prepare.quality is {self.quality}; give 1 to 100")
        check_at_least("dataset.prepare.damaged_limit", self.damaged_limit, 0)
        if not 1 <= self.pixel_limit <= PIXELS_AT_MOST:
            raise InputError(f"dataset.prepare.pixel_limit is {self.pixel_limit}; give 1 to {PIXELS_AT_MOST}")
