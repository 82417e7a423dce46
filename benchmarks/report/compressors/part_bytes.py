"""Bytes of box and small image over those of the whole image, with and without what is wasted (docs/compression.md).

    python -m cimbench.benchmarks.report.compressors.part_bytes tiny-imagenet.zip:0.55 caltech-101.tar:0.40:112

Each archive with the area share of a centred box and, where pictures are not of one size, the side they are squashed
to. Writes results/compression/part-bytes.md and .csv.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import squashed
from cimbench.datasets.preparing.decode import decode_rgb
from cimbench.methods.compression.exemplars.codecs import RAW, Codec
from cimbench.methods.compression.exemplars.exemplar import HEADER_BYTES, Format
from cimbench.methods.compression.exemplars.packing import pack
from cimbench.methods.compression.exemplars.resampling import shrink_into

RATIO = 4.0
PICTURES = 500  # of each archive, evenly spread
CODECS = (RAW, Codec(name="jpeg"), Codec(name="webp"), Codec(name="avif"))
FOLDER = Path("results/compression")


def pictures(archive: Path, side: int | None) -> Iterator[Tensor]:
    """(3, H, W) uint8, PICTURES of a zip or tar archive; InputError where it is absent or no archive."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as found:
                names = [name for name in found.namelist() if name.lower().endswith((".jpeg", ".jpg"))]
                contents = [found.read(name) for name in names[:: max(1, len(names) // PICTURES)][:PICTURES]]
        else:
            with tarfile.open(archive) as members:
                files = [each for each in members if each.name.lower().endswith((".jpeg", ".jpg"))]
                chosen = [members.extractfile(each) for each in files[:: max(1, len(files) // PICTURES)][:PICTURES]]
                contents = [each.read() for each in chosen if each is not None]
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InputError(f"{archive}: cannot be read ({error}); name a zip or tar archive of JPEG pictures") from error
    for content in contents:
        image = decode_rgb(content)
        yield squashed(image, side) if side is not None else image


def centred_box(height: int, width: int, share: float) -> list[int]:
    """XYXY of the middle `share` of the area, of the image's own aspect."""
    down, across = round(height * share**0.5), round(width * share**0.5)
    top, left = (height - down) // 2, (width - across) // 2
    return [left, top, left + across, top + down]


def bytes_of(image: Tensor, box: list[int], codec: Codec) -> tuple[float, float, float, float]:
    """Whole and parts with what is wasted; whole and parts as they are stored."""
    height, width = image.shape[-2:]
    form, corners, label = Format(ratio=RATIO, codec=codec), torch.tensor([box]), torch.tensor([0])
    whole_box = torch.tensor([[0, 0, width, height]])
    whole, parts = (len(pack(image[None], each, label, form).buffer) for each in (whole_box, corners))
    small = np.empty((3, int(height / RATIO**0.5), int(width / RATIO**0.5)), dtype=np.uint8)
    shrink_into(image.numpy(), small, "nearest")
    left, top, right, bottom = box
    crop = codec.encode(image[:, top:bottom, left:right].contiguous())
    tables = len(codec.shared)
    earlier = HEADER_BYTES + len(crop) + tables + len(codec.encode(torch.from_numpy(small))) + tables
    return whole + tables, earlier, whole, parts


def table(archives: Sequence[tuple[Path, float, int | None]]) -> pd.DataFrame:
    """A row for each archive and codec; bytes are summed over the pictures before they are divided."""
    rows = []
    for archive, share, side in archives:
        images = list(pictures(archive, side))
        for codec in CODECS:
            print(f"{archive.name}, {codec.name}", file=sys.stderr, flush=True)
            found = [bytes_of(each, centred_box(each.shape[1], each.shape[2], share), codec) for each in images]
            whole_then, parts_then, whole, parts = np.sum(found, 0)
            rows.append(
                {
                    "pictures": f"{len(images)} of {archive.name}" + (f" at {side} px" if side else ""),
                    "box": f"{share:.0%}",
                    "bytes": codec.name if codec.is_raw else f"{codec.name}, quality {codec.quality}",
                    "shared once": len(codec.shared),
                    "with waste": round(parts_then / whole_then, 3),
                    "as stored": round(parts / whole, 3),
                    "paper units": round(share + (1 - share) / RATIO, 3),
                }
            )
    return pd.DataFrame(rows)


def _named(text: str) -> tuple[Path, float, int | None]:
    path, *rest = text.split(":")
    try:
        share, side = float(rest[0]), int(rest[1]) if len(rest) > 1 else None
    except (IndexError, ValueError) as error:
        raise InputError(f"{text}: give ARCHIVE:SHARE or ARCHIVE:SHARE:SIDE, as in caltech-101.tar:0.40:112") from error
    return Path(path), share, side


def main(arguments: Sequence[str]) -> int:
    """Write the table of the archives that are named; 2 for bad input."""
    try:
        if not arguments:
            raise InputError("no archive is named; give ARCHIVE:SHARE or ARCHIVE:SHARE:SIDE, one or more")
        found = table([_named(each) for each in arguments])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    text = found.to_markdown(index=False) + (
        "\n\nBytes of a centred box and the small image over those of the whole image stored alike, eta 4, nearest "
        "neighbours. With waste: pixels under the box and every picture's own tables are stored. Made by "
        "`python -m cimbench.benchmarks.report.compressors.part_bytes`.\n"
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in (("part-bytes.md", text), ("part-bytes.csv", found.to_csv(index=False))):
        write_atomically(FOLDER / name, lambda file, content=content: file.write(content.encode()))  # type: ignore[misc]
    print(text)
    print(f"Written: {FOLDER}/part-bytes.md, part-bytes.csv. Commit them to keep them.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
