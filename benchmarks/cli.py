"""The verbs, from fetch to pictures (`cimbench --help`). params.yaml says what is done."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cimbench.benchmarks.config import PARAMETERS_FILE, Cell, Suite, find_cell, load_suite
from cimbench.benchmarks.progress import CellProgress, Listeners, bar
from cimbench.datasets.arrays import write_json
from cimbench.datasets.errors import InputError, printable
from cimbench.datasets.packed_store import open_store, verify_store
from cimbench.datasets.preparation import PrepareParameters
from cimbench.datasets.split import make_split, save_split
from cimbench.methods.optimisation import NonFiniteLossError

ARCHIVES = Path("data/archives")
PHOTOGRAPHS = "$CIMBENCH_SHARED/data/imagenet-samples-64.tar"


def fetch(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Fetch and verify the data set's archives."""
    from cimbench.benchmarks.receipt import receipt

    _, parameters = suite.dataset.build_source()
    with bar(f"fetching {suite.dataset.name}") as progress:
        told = receipt(parameters, ARCHIVES, progress)
    write_json(suite.receipt, told)
    return f"{suite.receipt}: {', '.join(told) or 'nothing to fetch'}. Next: cimbench prepare"


def prepare(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Decode and pack the data set's pictures, once."""
    from cimbench.datasets.archives import UNPACKED
    from cimbench.datasets.prepare import prepare as pack

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
        f"classes, {len(store.pixels) / 1e6:.1f} MB{left}. Next: cimbench split"
    )


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


def run(suite: Suite, arguments: argparse.Namespace) -> str:
    """Run one cell, or go on where it stopped."""
    from cimbench.benchmarks.run import run_cell

    cell = find_cell(suite, arguments.method, arguments.compressor, arguments.seed)
    progress = CellProgress(cell.title)
    try:
        record = run_cell(cell, Listeners(progress, *_tracking(cell, arguments.no_tracking)))
    finally:
        progress.close()
    seconds = sum(sum(phase.seconds.values()) for phase in record.phases)
    return f"{cell.folder}: {len(record.phases)} phases in {seconds:.0f} s. Next: cimbench report"


def _tracking(cell: Cell, off: bool) -> list[Any]:
    """The tracker, unless it is switched off or MLflow is not installed here (the cell can be imported later)."""
    if off:
        return []
    try:
        from cimbench.benchmarks.tracking import Tracker, configure_logging
    except ModuleNotFoundError as error:
        print(f"not tracked: {error.name} is not installed; later: cimbench track", file=sys.stderr)
        return []
    configure_logging()
    return [Tracker(cell.folder)]


def _records(suite: Suite) -> tuple[list[Any], dict[str, str]]:
    """The suite's complete records, and why the others are absent."""
    from cimbench.benchmarks.record import load_records

    records, absent = load_records({cell.folder: cell.resolved() for cell in suite.cells()})
    if not records:
        reasons = "".join(f"\n  {cell}: {reason}" for cell, reason in absent.items())
        raise InputError(f"{suite.results}/cells: no cell is complete; run them with dvc repro{reasons}")
    return records, absent


def report(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Write the suite's tables and pictures from its records."""
    from cimbench.benchmarks.report.boxes import write_boxes_table
    from cimbench.benchmarks.report.curves import curve_figure
    from cimbench.benchmarks.report.plots import boxes_figure, gallery_figure, save_figure
    from cimbench.benchmarks.report.sizes import write_sizes
    from cimbench.benchmarks.report.tables import write_tables

    records, absent = _records(suite)
    paths = write_tables(suite.results / "tables", records, absent)
    cells = [suite.results / "cells" / record.cell for record in records]
    paths += write_boxes_table(suite.results / "tables", records)
    paths += write_sizes(suite.results / "tables", records, cells, suite.store)
    curve = suite.results / "plots" / "accuracy-over-phases.png"
    save_figure(curve_figure(records), curve)
    measured = {record.cell for record in records}
    firsts = [cell for cell in suite.cells() if cell.seed == suite.matrix.seeds[0] and cell.name in measured]
    shown = [(cell.title, cell.folder / "gallery-phase-1.png") for cell in firsts]
    if shown := [(title, path) for title, path in shown if path.is_file()]:
        save_figure(gallery_figure(shown), suite.results / "plots" / "what-the-memory-keeps.png")
    phases = range(1, len(records[0].phases) + 1)
    boxes = [(cell.title, [cell.folder / f"boxes-phase-{phase}.png" for phase in phases]) for cell in firsts]
    if boxes := [(title, paths) for title, paths in boxes if any(path.is_file() for path in paths)]:
        save_figure(boxes_figure(boxes), suite.results / "plots" / "boxes.png")
    return f"{', '.join(map(str, [*paths, curve]))}: written. Next: cimbench show"


def show(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Print the suite's table and where everything is."""
    from cimbench.benchmarks.report.tables import caption, footnotes, formatted, reading_table

    records, absent = _records(suite)
    table = reading_table(records).drop(columns=["forgetting (%)", "spent", "per class", "model (kB)"])
    print(f"\n{formatted(table, 'simple')}\n\n{caption(records)}")
    for note in footnotes(records, absent):
        print(f"- {note}")
    return (
        f"\ntable    {suite.results}/tables/comparison.md (also .csv, .tex)"
        f"\npicture  {suite.results}/plots/accuracy-over-phases.png"
        f"\ngallery  {suite.results}/plots/what-the-memory-keeps.png (all phases: {suite.results}/cells/)"
        "\nnext     mlflow ui: compare the runs in a browser; dvc exp run -S budget.exemplars_per_class=5: change a "
        'parameter;\n         dvc exp run -S suite=food101-mini: another suite (README, "Another suite")'
    )


def track(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Import the suite's cells into MLflow; runs that are there already are left alone."""
    from cimbench.benchmarks.tracking import Tracker, configure_logging, tracking_uri

    configure_logging()
    records, absent = _records(suite)
    with bar(f"importing {suite.suite}") as progress:
        for number, record in enumerate(records):
            Tracker(suite.results / "cells" / record.cell).log(record)
            progress(number + 1, len(records))
    left = "".join(f"\nnot imported: {cell}: {reason}" for cell, reason in absent.items())
    return f"{len(records)} cells of suite {suite.suite} are in {tracking_uri()}{left}. Next: mlflow ui"


def cells(suite: Suite, _arguments: argparse.Namespace) -> str:
    """List the suite's cells and which are done."""
    from cimbench.benchmarks.record import load_records

    expected = {cell.folder: cell.resolved() for cell in suite.cells()}
    records, absent = load_records(expected)
    for folder in expected:
        print(f"{folder.name}  {absent.get(folder.name, 'done')}")
    return f"{len(records)} of {len(expected)} cells of suite {suite.suite} are done. Next: dvc repro"


def export(suite: Suite, arguments: argparse.Namespace) -> str:
    """Write the parameters as JSON, for a machine without a YAML reader."""
    write_json(Path(arguments.file), asdict(suite))
    return f"{arguments.file}: the parameters. There: cimbench --params {arguments.file} run ..."


def units(_suite: Suite, arguments: argparse.Namespace) -> str:
    """Put suites that differ in the budget's unit side by side."""
    from cimbench.benchmarks.report.units import write_units

    return f"{write_units(Path('results'), arguments.suites)}: the units side by side"


def pictures(_suite: Suite, arguments: argparse.Namespace) -> str:
    """Draw what each compressor keeps of two photographs, and bytes against eta on many."""
    from cimbench.benchmarks.report.compression import draw_bytes_against_eta, draw_compressors

    with bar("drawing") as progress:
        written = draw_compressors(progress)
    archive = Path(os.path.expandvars(arguments.photographs))
    if not archive.is_file():
        return f"{', '.join(map(str, written))}: drawn. Bytes against eta: not, {archive} is absent (--photographs)"
    with bar("measuring bytes") as progress:
        written += draw_bytes_against_eta(archive, progress)
    return f"{', '.join(map(str, written))}: drawn. Next: look at docs/compression.md"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="cimbench", description=__doc__)
    top.add_argument("--params", type=Path, default=PARAMETERS_FILE, help="parameter file (default: params.yaml)")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="verb")
    for verb in (fetch, prepare, verify, split, run, report, show, track, cells, units, export, pictures):
        sub = verbs.add_parser(verb.__name__, help=verb.__doc__, description=verb.__doc__)
        sub.set_defaults(action=verb)
        if verb is run:
            sub.add_argument("--method", required=True, help="a method of the registry, for instance replay")
            sub.add_argument("--compressor", required=True, help="a compressor of the registry, for instance none")
            sub.add_argument("--no-tracking", action="store_true", help="do not log to MLflow now")
        if verb in (run, split):
            sub.add_argument("--seed", type=int, required=verb is run, help="seed of class order and training")
        if verb is pictures:
            sub.add_argument("--photographs", default=PHOTOGRAPHS, help=f"tar of photographs (default: {PHOTOGRAPHS})")
        if verb is units:
            sub.add_argument("suites", nargs="+", help="names of suites with results, for instance tiny-masks")
        if verb is export:
            sub.add_argument("file", help="the JSON file to write")
    return top


def _prepare_process() -> None:
    """Global switches, set once at the entry: deterministic kernels; no time spent on filling fresh memory."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the console script; input errors are printed without a traceback and end with status 2."""
    parsed = parser().parse_args(arguments)
    _prepare_process()
    try:
        print(parsed.action(load_suite(parsed.params), parsed), flush=True)
    except BrokenPipeError:  # the reader (head, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InputError, NonFiniteLossError) as error:
        print(f"cimbench {parsed.verb}: {error}", file=sys.stderr)
        return 2
    except json.JSONDecodeError as error:
        print(f"cimbench {parsed.verb}: {parsed.params}: is not valid JSON: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
