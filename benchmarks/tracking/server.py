"""Where runs are logged, how long it is waited for, and what a refusal means in words."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable

import mlflow
from mlflow.exceptions import MlflowException

LOCAL = "sqlite:///mlflow.db"
# MLflow's own limits make a run wait for minutes where a server is away; a variable that is set already counts
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a run
}
_STATUS = re.compile(r"error code (\d{3})")


class SlowStoreError(Exception):
    """The store did not answer in time."""


def tracking_uri() -> str:
    """The server in MLFLOW_TRACKING_URI, else the file that `mlflow ui` opens without flags in this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or LOCAL


def without_secrets(text: str) -> str:
    """`text` without the names, passwords and query parameters of the addresses in it."""
    return re.sub(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*", r"\1", re.sub(r"(?<=://)[^\s'\"]*@", "", text))


def address() -> str:
    """Where runs are logged, fit to be printed."""
    return without_secrets(tracking_uri())


def configure() -> None:
    """Point MLflow to the store, bound its waiting, and keep its own chatter out of the progress."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(tracking_uri())


def patience() -> float | None:
    """Seconds to wait for a server at a time: two requests' limit. None for a file here, which is waited for."""
    if tracking_uri().startswith(("sqlite:", "file:")) or "://" not in tracking_uri():
        return None
    return 2 * float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", _DEFAULTS["MLFLOW_HTTP_REQUEST_TIMEOUT"]))


class Errand:
    """An action in a thread of its own, which may be left behind: nothing waits for it longer than it wants to."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._action()
        except Exception as error:
            self._error = error  # `wait` raises it, in the thread that waits

    @property
    def busy(self) -> bool:
        """Whether it goes on still."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None) -> None:
        """Until it is done; raises its error, or SlowStoreError after `seconds` (None: never)."""
        self._thread.join(seconds)
        if self.busy:
            raise SlowStoreError(f"no answer within {seconds:.0f} s")
        if self._error is not None:
            raise self._error


def why_not_reached() -> str:
    """What the store or the way to it says when it is asked for its experiments; "" where it answers."""
    from mlflow.tracking import MlflowClient

    try:
        Errand(lambda: MlflowClient(tracking_uri()).search_experiments(max_results=1)).wait(patience())
    except Exception as error:  # whatever it is, it is told
        return refusal(error)
    return ""


def refusal(error: Exception) -> str:
    """Why the store did not take a run and what to do, in a sentence without secrets."""
    status = _status(error)
    if status == 401:
        known = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return f"it asks who you are (401); set {known}"
    if status == 403:
        return "it does not let you in (403); ask its owner for the right to write, or log in as someone else"
    words = without_secrets(str(error)).strip() or type(error).__name__
    said = words.splitlines()[0][:300]
    if isinstance(error, ImportError):
        return f"{said}; install it, or name a driver that is there, as in postgresql+psycopg2://..."
    remedy = "see that MLFLOW_TRACKING_URI is right and the server is up, or unset it to use the local file"
    return said if tracking_uri() == LOCAL else f"{said}; {remedy}"


def of_the_store(error: Exception) -> bool:
    """Whether the error is the store's or the way to it, and no mistake of ours."""
    known = (MlflowException, OSError, SlowStoreError, ImportError)
    return isinstance(error, known) or type(error).__module__.startswith("sqlalchemy")


def _status(error: Exception) -> int | None:
    """The HTTP status that an error carries, if any."""
    if not isinstance(error, MlflowException):
        return None
    told = _STATUS.search(str(error))
    return int(told.group(1)) if told else int(error.get_http_status_code())
