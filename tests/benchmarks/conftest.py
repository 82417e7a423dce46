"""One MLflow server over SQLite for all tests of tracking, which share a process (xdist_group)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks.mlflow_server import serving


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    folder = tmp_path_factory.mktemp("sqlite")
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with serving(folder, "server", *store) as address:
        yield address
