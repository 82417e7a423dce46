"""A hundred thousand pictures prepared and then read once as a training reads them, in a process of its own.

`python -m cimbench.benchmarks.throughput.large_set FOLDER COUNT` prints seconds and the most memory in use, as JSON.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cimbench.benchmarks.cell.peak_memory import peak_memory, reset_peak_memory
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.stream.epoch_order import EpochSampler
from cimbench.datasets.stream.feed import FeedParameters, Streamed
from cimbench.methods.training.pool import Pool

SIDE, CLASSES, BATCH = 128, 100, 256
_CPU = torch.device("cpu")


def picture(index: int) -> bytes:
    """A JPEG of noise, some 20 kB: larger than a photograph of that size, so that a few make gigabytes."""
    noise = np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=90)
    return file.getvalue()


def catalogue(count: int) -> Catalogue:
    """A few pictures under many names, since drawing each would take longer than preparing them."""
    drawn = [picture(index) for index in range(64)]
    numbers = torch.arange(count)
    return Catalogue(
        origin="noise",
        class_names=tuple(f"class {label}" for label in range(CLASSES)),
        names=tuple(f"{number:09d}.jpg" for number in range(count)),
        labels=numbers % CLASSES,
        is_test=numbers // CLASSES % 10 == 0,
        content=lambda index: drawn[index % len(drawn)],
    )


def main() -> None:
    """Prepare, stream one epoch, and tell."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    told: dict[str, float] = {}
    reset_peak_memory(_CPU)
    start = time.perf_counter()
    store = prepare(catalogue(count), PrepareParameters(encoding="original"), folder / "store", folder / "partial")
    told |= {"prepare_seconds": time.perf_counter() - start, "prepare_peak": float(peak_memory(_CPU) or 0)}
    told["bytes"] = float(len(store.pixels.bytes))
    reset_peak_memory(_CPU)
    start = time.perf_counter()
    pool = Pool(images=Streamed(store, SIDE, _CPU, FeedParameters()), labels=store.labels)
    order = EpochSampler(count=count, batch_size=BATCH, seed=0, purpose=("order", 0)).batches(0)
    seen = sum(len(labels) for _, labels in pool.batches(order))
    told |= {"stream_seconds": time.perf_counter() - start, "stream_peak": float(peak_memory(_CPU) or 0)}
    assert seen == count
    shutil.rmtree(folder / "store")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
