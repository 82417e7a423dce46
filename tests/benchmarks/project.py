"""A copy of the project that DVC runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from dvc.repo import Repo
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.benchmarks.workplace import FEW_DIGITS
from tests.conftest import ROOT

SMALL_SUITE = {
    "suite": "small-copy",
    "matrix": {
        "methods": ["replay", "icarl"],
        "compressors": ["class_activation"],
        "seeds": [5],
        "bounds": ["finetune"],
    },
    "dataset": {
        "name": "few-digits",
        "source": "cluttered_digits",
        "parameters": FEW_DIGITS,
    },
    "protocol": {"name": "lfs", "phases": 2, "validation_share": 0.0, "order_seed": None},
    "network": {"architecture": "resnet8", "stem": "strided", "width": 4, "input_side": 32},
    "training": {"base_epochs": 1, "epochs": 1, "batch_size": 16, "learning_rate": 0.05},
}


def copy_of_the_project(folder: Path) -> Path:
    """The tracked files in a git repository of their own, with a suite that takes seconds as the default.

    Of results/ only the throughput, which the report shows.
    """
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        left_out = name.startswith(("results/", "tests/golden", "dvc.lock"))
        if (not left_out or name.startswith("results/throughput/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    header = "# @package _global_\ndefaults:\n  - embedded\n  - _self_\n"
    (folder / "conf/suite/small-copy.yaml").write_text(header + yaml.safe_dump(SMALL_SUITE))
    other = {**SMALL_SUITE, "suite": "other-copy", "matrix": {**SMALL_SUITE["matrix"], "methods": ["finetune"]}}
    other["matrix"] = {"methods": ["finetune"], "compressors": ["none"], "seeds": [5], "bounds": []}
    (folder / "conf/suite/other-copy.yaml").write_text(header + yaml.safe_dump(other))
    config = folder / "conf/config.yaml"
    config.write_text(config.read_text().replace("suite: digits", "suite: small-copy"))
    with initialize_config_dir(str(folder / "conf"), version_base=None):
        (folder / "params.yaml").write_text(OmegaConf.to_yaml(compose("config")))
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "copy")
    return folder


def run(folder: Path, *words: str) -> str:
    """Run a command in the copy with this environment's programs; its whole output."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    environment = {**own, "PATH": path, "DVC_NO_ANALYTICS": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def stale(project: Path) -> set[str]:
    """Names of the stages that DVC would run; DVC is called as a library, which saves its start."""
    with Repo(str(project)) as repo:
        return {name.rpartition(":")[2] for name in repo.status() if "@" in name}
