"""A cell runs where only torch (with torchvision and NumPy) is installed, and can be imported into MLflow later."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimbench.benchmarks.records.record import load_record
from tests.benchmarks.workplace import cell_arguments, furnish, run_command

ABSENT = (
    "mlflow",
    "dvc",
    "pandas",
    "tabulate",
    "matplotlib",
    "sklearn",
    "yaml",
    "rich",
    "hydra",
    "omegaconf",
    "fsspec.implementations.http",
    "safetensors",
    "scipy",
    "aiohttp",
    "requests",
    "urllib3",
)

# torch itself asks on import what else is there, so it comes first
BLOCK = f"""
import torchvision
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == absent or name.startswith(absent + '.') for absent in {ABSENT!r}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


@pytest.mark.slow
def test_a_cell_needs_torch_alone_and_is_imported_later(tmp_path: Path) -> None:
    furnish(tmp_path)
    done = run_command(tmp_path, *cell_arguments("icarl", "class_activation", tracked=True), prelude=BLOCK)
    assert done.returncode == 0, done.stderr
    assert "not tracked: mlflow is not installed; later: cimbench track" in done.stderr
    assert load_record(tmp_path / "results/test/cells/icarl-class_activation-3").complete
    assert not (tmp_path / "mlflow.db").exists()
    wanted = {"params.json", "data", "results"}
    assert {path.name for path in tmp_path.iterdir()} == wanted
