"""Accuracy by object size, as in CIM's table: small, middle and large are 30, 40 and 30 % of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report.tables import formatted, spread
from cimbench.datasets.arrays import load_arrays, write_atomically
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.images.packed_store import INDEX, open_store
from cimbench.methods.compression.boxes.boxes import area_shares

HEADING = "Last accuracy by the mean area of a class's objects."
SHARES = {"small": 0.3, "middle": 0.4, "large": 0.3}


def mean_areas(store: ImageStore) -> dict[str, float]:
    """Mean share of the image that ground-truth boxes take, over a class's training images that have one.

    A class without any is left out.
    """
    boxed = torch.nonzero(~store.is_test & (store.boxes[:, 0] >= 0)).flatten()
    areas, labels = area_shares(store.boxes[boxed], store.sizes[boxed]), store.labels[boxed]
    mine = {name: areas[labels == label] for label, name in enumerate(store.class_names)}
    return {name: float(found.mean()) for name, found in mine.items() if len(found)}


def size_groups(areas: dict[str, float]) -> dict[str, list[str]]:
    """The classes of each group, smallest first; a class more in the middle where the shares do not divide."""
    ordered = sorted(areas, key=lambda name: (areas[name], name))
    outer = int(SHARES["small"] * len(ordered))
    return {
        "small": ordered[:outer],
        "middle": ordered[outer : len(ordered) - outer],
        "large": ordered[len(ordered) - outer :],
    }


def group_accuracies(confusion: np.ndarray, names: Sequence[str], groups: dict[str, list[str]]) -> dict[str, float]:
    """Accuracy in percent over each group's test images, from counts of true (rows) and predicted classes."""
    place = {name: number for number, name in enumerate(names)}
    found = {}
    for group, members in groups.items():
        rows = [place[name] for name in members]
        if rows:
            found[group] = 100 * float(confusion[rows, rows].sum()) / float(confusion[rows].sum())
    return found


def sizes_table(records: Sequence[Record], folders: Sequence[Path], groups: dict[str, list[str]]) -> pd.DataFrame:
    """One row a method, compressor and head: last accuracy in each group, mean ± deviation over seeds."""
    cells: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for record, folder in zip(records, folders, strict=True):
        confusion, _ = load_arrays(folder / "confusion.npz")
        for head, counts in confusion.items():
            key = (record.config["method"]["name"], record.config["compressor"]["name"], head)
            cells.setdefault(key, []).append(group_accuracies(counts, record.class_names, groups))
    rows = []
    for (method, compressor, head), found in cells.items():
        row = {"method": method, "compressor": compressor, "head": head}
        for group in SHARES:
            row[f"{group} (%)"] = spread([one[group] for one in found]).text() if group in found[0] else "no class"
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The table, and for each group a line that names its classes."""

    table: pd.DataFrame
    groups: tuple[str, ...]


def found_sizes(records: Sequence[Record], cells: Sequence[Path], prepared: Path) -> Sizes | None:
    """Accuracy by size; None where the prepared data are not here or have no boxes."""
    if not (prepared / INDEX).is_file():
        return None
    store = open_store(prepared)
    if not len(store.boxes):
        return None
    areas = mean_areas(store)
    groups = size_groups(areas)
    lines = [
        f"{group}: {', '.join(f'{name} ({areas[name]:.0%})' for name in members)}" for group, members in groups.items()
    ]
    return Sizes(table=sizes_table(records, cells, groups), groups=tuple(lines))


def write_sizes(folder: Path, records: Sequence[Record], cells: Sequence[Path], prepared: Path) -> list[Path]:
    """sizes.md: the table, and which classes are in which group; none where there is nothing to say."""
    sizes = found_sizes(records, cells, prepared)
    if sizes is None:
        return []
    table, lines = formatted(sizes.table, "github"), "".join(f"- {line}\n" for line in sizes.groups)
    text = f"{HEADING}\n\n{table}\n\n{lines}"
    path = folder / "sizes.md"
    write_atomically(path, lambda file: file.write(text.encode()))
    return [path]
