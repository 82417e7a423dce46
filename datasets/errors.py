"""Errors made by input, not by the program: they name the file or parameter, its value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, and what to do. Printed without a traceback."""


def nearest_name(value: str, known: Iterable[str]) -> str:
    """One sentence that suggests the nearest known name and lists all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    suggestion = f"did you mean '{close[0]}'? " if close else ""
    return f"{suggestion}known: {', '.join(names)}"


def printable(name: str) -> str:
    """A file's name for a message: escaped where it has line ends, or bytes that are no text."""
    return name if name.isprintable() else ascii(name)


def unknown_name(kind: str, value: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no registry."""
    return InputError(f"{kind} '{value}' is not known; {nearest_name(value, known)}")


def check_choice(parameter: str, value: str, known: Iterable[str]) -> None:
    """Raise InputError unless `value` is one of `known`."""
    names = tuple(known)
    if value not in names:
        raise InputError(f"{parameter} is '{value}'; {nearest_name(str(value), names)}")


def check_seed(parameter: str, value: int) -> None:
    """Raise InputError unless NumPy's legacy generator takes the seed."""
    if not 0 <= value < 2**32:
        raise InputError(f"{parameter} is {value}; give 0 or more, less than 2^32")


def check_file_name(parameter: str, value: str) -> None:
    """Raise InputError unless `value` is a plain file name, which leads to no other folder."""
    if not value or value.startswith(".") or any(not (c.isalnum() or c in "-_.") for c in value):
        raise InputError(f"{parameter} is '{value}'; give a name of letters, digits, '-', '_' and '.'")


def check_at_least(parameter: str, value: float, least: float) -> None:
    """Raise InputError unless `value` >= `least` (NaN fails)."""
    if not value >= least:
        raise InputError(f"{parameter} is {value}; give {least:g} or more")
