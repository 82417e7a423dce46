"""A small catalogue, and what is prepared of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.preparing import prepare as module
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.reading.catalogue import Catalogue
from tests.datasets.archives import picture


def catalogue(contents: list[bytes | torch.Tensor], **rest: Any) -> Catalogue:
    """Two classes in turn; every third pair is for testing."""
    numbers = torch.arange(len(contents))
    fields: dict[str, Any] = {
        "origin": "here",
        "class_names": ("a", "b"),
        "names": tuple(f"p{number}" for number in numbers.tolist()),
        "labels": numbers % 2,
        "is_test": numbers // 2 % 3 == 0,
        "content": contents.__getitem__,
    }
    return Catalogue(**(fields | rest))


def pictures(count: int = 12) -> list[bytes | torch.Tensor]:
    return [picture(i, 20 + i % 5, 30 - i % 3, form="PNG" if i % 4 == 3 else "JPEG") for i in range(count)]


def prepared(found: Catalogue, folder: Path, name: str = "s", workers: int = 2, **how: Any) -> ImageStore:
    return prepare(found, PrepareParameters(**how), folder / name, folder / "partial", workers=workers)


def tree(folder: Path) -> dict[str, str]:
    """Every file below with the sha256 of its bytes."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    decoded: list[int] = []
    real = module.packed

    def counting(content: bytes | torch.Tensor, parameters: PrepareParameters) -> module.Packed:
        decoded.append(1)
        return real(content, parameters)

    monkeypatch.setattr(module, "packed", counting)
    return decoded
