"""Errors that a command ends with."""

from __future__ import annotations


class FailedCellsError(Exception):
    """Some cells could not be run; the others were. The message names each with its error."""


class FailedRequirementsError(Exception):
    """Some requirements are not met; the message says how many."""
