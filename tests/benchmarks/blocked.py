"""A program that cannot import what the core does without."""

from __future__ import annotations

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
