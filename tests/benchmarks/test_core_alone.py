"""A cell runs where only torch (with torchvision and NumPy) is installed, and can be imported into MLflow later."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimbench.benchmarks.records.record import load_record
from tests.benchmarks.blocked import BLOCK
from tests.benchmarks.workplace import cell_arguments, furnish, run_command


@pytest.mark.slow
def test_a_cell_needs_torch_alone_and_is_imported_later(tmp_path: Path) -> None:
    furnish(tmp_path)
    done = run_command(tmp_path, *cell_arguments("icarl", "class_activation", tracked=True), prelude=BLOCK)
    assert done.returncode == 0, done.stderr
    assert "not tracked: mlflow is not installed; later: cimbench track" in done.stderr
    assert load_record(tmp_path / "results/test/cells/icarl-class_activation/3").complete
    assert not (tmp_path / "mlflow.db").exists()
    wanted = {"params.json", "data", "results"}
    assert {path.name for path in tmp_path.iterdir()} == wanted
