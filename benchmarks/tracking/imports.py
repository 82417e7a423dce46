"""Records brought into MLflow later: after a run without it, or into a new database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlflow.tracking import MlflowClient

from cimbench.benchmarks.records.places import folder_of
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.tracking.content import group_of
from cimbench.benchmarks.tracking.runs import Tracker
from cimbench.benchmarks.tracking.server import (
    Errand,
    address,
    configure,
    of_the_store,
    patience,
    refusal,
    tracking_uri,
)
from cimbench.datasets.errors import InputError
from cimbench.datasets.progress import Advance


def import_records(results: Path, records: Sequence[Record], progress: Advance) -> None:
    """Log cells with the pictures in `results`, and a summary a group; what is there already is left alone.

    InputError that names the store and the remedy where it is away, slow or forbids.
    """
    configure()
    try:
        Errand(lambda: MlflowClient(tracking_uri()).search_experiments(max_results=1)).wait(patience())
        tracker, groups = Tracker(), dict[str, list[Record]]()
        for number, record in enumerate(records):
            tracker.log(record, folder_of(results, record))
            groups.setdefault(group_of(record), []).append(record)
            progress(number + 1, len(records))
        for members in groups.values():
            tracker.summarise(members)
    except Exception as error:
        if not of_the_store(error):
            raise
        raise InputError(f"{address()}: {refusal(error)}; then: cimbench track again") from error
