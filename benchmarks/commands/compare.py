"""The verb that answers: did I reproduce it?"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from cimbench.benchmarks.commands.measured import measured
from cimbench.benchmarks.records.places import cell_folder, record_folders
from cimbench.benchmarks.records.record import Record, load_record
from cimbench.benchmarks.suite.config import Suite
from cimbench.datasets.arrays import write_to_disk
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.packed_store import put_in_place

REFERENCE = Path("results/reference")


def compare(suite: Suite, arguments: argparse.Namespace) -> str:
    """Compare the suite's own numbers with the committed ones, or make the own ones the committed."""
    own, absent = measured(suite)
    place = Path(arguments.reference) / suite.suite
    if arguments.replace:
        if absent:
            raise InputError(f"--replace: not done: {', '.join(absent)}; run them first")
        return f"{replace(suite, own, place)}: replaced. Next: git add {place}"
    committed = [load_record(folder) for folder in record_folders(place.parent, place.name)]
    if not committed:
        raise InputError(
            f"{place}/cells: no committed cell of suite {suite.suite} to compare with; name another folder with "
            "--reference"
        )
    return _told(own, committed)


def _told(own: Sequence[Record], committed: Sequence[Record]) -> str:
    """The table, what may and must not differ, and the closing line."""
    from cimbench.benchmarks.report import compared
    from cimbench.benchmarks.report.tables import formatted

    if others := compared.what_must_not_differ(own, committed):
        raise InputError("not the same experiment as the committed one:\n  " + "\n  ".join(others))
    found = list(compared.comparisons(own, committed))
    if not found:
        raise InputError("no cell of yours is among the committed ones: other methods, compressors or heads")
    print(f"\n{formatted(compared.comparison_rows(found), 'simple')}\n")
    seeds = len({record.config["seed"] for record in committed})
    print(f"committed ± : where 95 of 100 means over as many seeds as yours belong, by the {seeds} committed seeds.")
    others = compared.what_differs(own, committed)
    equal, pairs = compared.same_bits(own, committed)
    print(f"Of {pairs} cells with the same seed, {equal} have the same counts and losses in every phase.")
    if others:
        print(f"Different here, and may change numbers by rounding: {'; '.join(others)}.")
    known = [one for one in found if one.within is not None]
    inside, where = sum(bool(one.within) for one in known), "inside their committed interval"
    by_chance = "; one of twenty is outside by chance" if inside < len(known) else ""
    return f"{inside} of {len(known)} numbers are {where}{by_chance}. Next: open the page in a browser, or mlflow ui"


def replace(suite: Suite, own: Sequence[Record], place: Path) -> Path:
    """Make the suite's tables, pictures and records the committed ones; the folder."""
    parts = ("tables", "plots")
    if lacking := [suite.results / name for name in parts if not (suite.results / name).is_dir()]:
        raise InputError(f"{lacking[0]}: is not there; cimbench report writes it")
    partial = place.with_name(f".{place.name}.partial")
    with write_to_disk(place):
        shutil.rmtree(partial, ignore_errors=True)
        for name in parts:
            shutil.copytree(suite.results / name, partial / name)
        for record in own:
            record.save(cell_folder(partial, record.cell))
        put_in_place(partial, place)
    return place


def arguments_of_compare(parser: argparse.ArgumentParser) -> None:
    """With what."""
    parser.add_argument("--reference", default=str(REFERENCE), help=f"folder of suites (default: {REFERENCE})")
    parser.add_argument("--replace", action="store_true", help="make your own results the committed ones")
