"""The verbs that bring pictures: fetch, prepare, verify, split."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cimbench.benchmarks.commands.progress_bar import bar
from cimbench.benchmarks.suite.config import Suite
from cimbench.datasets.arrays import write_json
from cimbench.datasets.errors import printable
from cimbench.datasets.images.packed_store import open_store, verify_store
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.stream.split import make_split, save_split

ARCHIVES = Path("data/archives")


def fetch(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Fetch and verify the data set's archives."""
    from cimbench.datasets.fetching.receipt import receipt

    _, parameters = suite.dataset.build_source()
    with bar(f"fetching {suite.dataset.name}") as progress:
        told = receipt(parameters, ARCHIVES, progress)
    write_json(suite.receipt, told)
    return f"{suite.receipt}: {', '.join(told) or 'nothing to fetch'}. Next: cimbench prepare"


def prepare(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Decode and pack the data set's pictures, once."""
    from cimbench.datasets.preparing.prepare import prepare as pack
    from cimbench.datasets.reading.archives import UNPACKED

    catalogue_of, parameters = suite.dataset.build_source()
    with bar(f"reading {suite.dataset.name}") as progress:
        catalogue = catalogue_of(parameters, ARCHIVES, progress)
    with bar(f"preparing {suite.dataset.name}") as progress:
        how = suite.dataset.prepare or PrepareParameters()
        store = pack(catalogue, how, suite.store, Path("data/partial"), progress)
    shutil.rmtree(ARCHIVES / UNPACKED, ignore_errors=True)
    shown = "; ".join(map(printable, store.damaged[:3]))
    left = f", {len(store.damaged)} damaged ones left out ({shown})" if store.damaged else ""
    return (
        f"{suite.store}: {len(store)} images ({int(store.is_test.sum())} for testing) of {len(store.class_names)} "
        f"classes, {len(store.pixels.bytes) / 1e6:.1f} MB{left}. Next: cimbench split"
    )


def bring_data(suite: Suite, seeds: Sequence[int]) -> bool:
    """Fetch, prepare and split what these seeds need and is not there. Whether images were prepared."""
    absent = bool(seeds) and not suite.store.is_dir()
    if absent:
        for verb in (fetch, prepare):
            print(verb(suite, argparse.Namespace()), file=sys.stderr)
    for seed in seeds:
        if not suite.split_path(seed).is_file():
            split(suite, argparse.Namespace(seed=seed))
    return absent


def verify(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Compare every byte of the prepared data with its digest."""
    store = verify_store(suite.store)
    return f"{suite.store}: {len(store)} images are what was prepared ({store.digest[:16]}). Next: cimbench run"


def split(suite: Suite, arguments: argparse.Namespace) -> str:
    """Write which image is learnt and tested in which phase."""
    store = open_store(suite.store)
    seeds = [arguments.seed] if arguments.seed is not None else suite.matrix.seeds
    for seed in seeds:
        save_split(make_split(store, suite.protocol, seed), store, suite.split_path(seed))
    return f"{', '.join(str(suite.split_path(seed)) for seed in seeds)}: the phases. Next: cimbench run"


def arguments_of_split(parser: argparse.ArgumentParser) -> None:
    """One seed alone, for a stage of the pipeline."""
    parser.add_argument("--seed", type=int, help="seed of the class order (default: all of the matrix)")
