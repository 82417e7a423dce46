"""A folder that looks like a clone after fetch and split, for commands run as their own processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cimbench.benchmarks.suite.config import Suite, load_suite
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.images.packed_store import save_store
from cimbench.datasets.stream.split import make_split, save_split
from tests.conftest import coloured_store, tiny_parameters

FEW_DIGITS = {
    "side": 32,
    "digit_side": [14, 16],
    "fragments": 1,
    "fragment_side": [4, 6],
    "background_contrast": 0.2,
    "train_per_class": 6,
    "test_per_class": 3,
    "seed": 0,
}


def furnish(folder: Path, store: ImageStore | None = None, **sections: Any) -> Suite:
    """Write parameters (as JSON), the prepared data and the splits into `folder`; returns the suite."""
    content = tiny_parameters(**sections)
    (folder / "params.json").write_text(json.dumps(content))
    suite = load_suite(folder / "params.json")
    store = store or coloured_store()
    save_store(store, folder / suite.store)
    for seed in suite.matrix.seeds:
        save_split(make_split(store, suite.protocol, seed), store, folder / suite.split_path(seed))
    return suite


def command(*arguments: str, prelude: str = "") -> list[str]:
    """A process that runs the command line after `prelude`, one thread, as the tests themselves."""
    program = (
        f"import sys; {prelude or 'pass'}\n"
        "import torch; torch.set_num_threads(1)\n"
        "from cimbench.benchmarks.cli import main\n"
        f"sys.exit(main(['--params', 'params.json', *{list(arguments)!r}]))"
    )
    return [sys.executable, "-c", program]


def run_command(folder: Path, *arguments: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder` and wait for it."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        command(*arguments, prelude=prelude), cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def cell_arguments(method: str = "replay", compressor: str = "none", seed: int = 3, tracked: bool = False) -> list[str]:
    """The arguments that run one cell."""
    arguments = ["run", "--method", method, "--compressor", compressor, "--seed", str(seed)]
    return arguments if tracked else [*arguments, "--no-tracking"]
