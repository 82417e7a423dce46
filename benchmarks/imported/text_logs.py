"""Text logs of PyCIL, FOSTER and CIM-CIL, as their trainers write them: settings, then curves that grow by phases.

A file holds one run after another (several seeds, or a run that was begun again). FOSTER's network of two branches is
what "CNN top1 curve" is about; its compressed one is told by a single number after each "darknet eval".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cimbench.datasets.errors import InputError

LARGEST = 1 << 28  # bytes of a log; theirs have some megabytes at most
# settings that are read; a log tells more
SETTINGS = (
    "config",
    "dataset",
    "memory_size",
    "memory_per_class",
    "fixed_memory",
    "init_cls",
    "increment",
    "model_name",
    "seed",
    "mask_threshold",
)
_PREFIX = r"(?:^|=>)\s*"
_SETTING = re.compile(rf"{_PREFIX}({'|'.join(SETTINGS)}): *(.*?)\s*$")
_CURVE = re.compile(r"\b(CNN|NME) top([15]) curve: *(\[.*|[^\s\[].*)$")
_STUDENT = re.compile(rf"{_PREFIX}darknet eval:\s*$")
_NUMBER = re.compile(r"(?:(?:np|numpy)\.float\d+\()?([^()\s]+)\)?$")

Curve = tuple[float, ...]


@dataclass
class LoggedRun:
    """One run of a log. curves: "CNN" or "NME" -> top-1 (1) and top-5 (5) values, the longest that was told.

    student: accuracies of the compressed network, from the second phase on. line: where the run begins.
    """

    line: int
    settings: dict[str, str] = field(default_factory=dict)
    curves: dict[tuple[str, int], Curve] = field(default_factory=dict)
    student: dict[int, list[float]] = field(default_factory=lambda: {1: [], 5: []})

    @property
    def empty(self) -> bool:
        """Whether it ended before its first evaluation."""
        return not self.curves


def read_log(path: Path) -> list[LoggedRun]:
    """The runs of a log, in order, without those that ended before their first evaluation.

    InputError where the file is no such log, or contradicts itself.
    """
    runs = [LoggedRun(line=1)]
    told_student = False
    for number, line in enumerate(_lines(path), start=1):
        if setting := _SETTING.search(line):
            name, value = setting.groups()
            if not runs[-1].empty or runs[-1].settings.get(name, value) != value:
                runs.append(LoggedRun(line=number))
            runs[-1].settings[name] = value
        elif _STUDENT.search(line):
            told_student = True
        elif curve := _CURVE.search(line):
            head, top, text = curve.group(1), int(curve.group(2)), curve.group(3).strip()
            where = f"{path}: line {number}"
            if text.startswith("["):
                told_student = False
                runs[-1] = _grown(runs, head, top, _values(text, where), where)
            elif told_student:
                runs[-1].student[top].append(_value(text, where))
            else:
                raise InputError(f"{where} is {line.strip()[:80]!r}, which is no curve; check the file")
    found = [run for run in runs if not run.empty]
    if not found:
        raise InputError(f"{path}: has no line such as 'CNN top1 curve: [...]'; give a log of PyCIL, FOSTER or CIM-CIL")
    return found


def _lines(path: Path) -> Iterator[str]:
    """The text's lines; InputError for what is no text, or far too long."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: has more than {LARGEST / 1e6:.0f} MB, which no such log has; check the file")
        text = path.read_bytes().decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a log") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text ({error.reason} at byte {error.start}); name a log") from error
    if "\0" in text:
        raise InputError(f"{path}: is no text (it has zero bytes); name a log")
    lines = text.splitlines()
    if lines and not text.endswith(("\n", "]")):  # the writer was stopped within its last line
        lines.pop()
    yield from lines


def _grown(runs: list[LoggedRun], head: str, top: int, curve: Curve, where: str) -> LoggedRun:
    """The run that a curve belongs to, with it: each is the one before and one more value, or begins a new run."""
    run = runs[-1]
    before = run.curves.get((head, top), ())
    if curve == before:  # printed twice: to the file and to the screen
        return run
    if len(curve) == 1 and before:  # begun again without telling its settings
        runs.append(LoggedRun(line=int(where.rsplit(" ", 1)[1]), settings=dict(run.settings)))
        run, before = runs[-1], ()
    if before and curve[:-1] != before:  # an excerpt may begin with any length
        raise InputError(
            f"{where}: the {head} top{top} curve {list(curve)} does not go on from {list(before)} before it; "
            "several logs may be mixed: give one a file"
        )
    run.curves[head, top] = curve
    return run


def _values(text: str, where: str) -> Curve:
    if not text.endswith("]"):
        raise InputError(f"{where} is cut off within a curve ({text[-30:]!r}); remove it, and the one before is used")
    inside = text[1:-1].strip()
    if not inside:
        raise InputError(f"{where}: the curve is empty; check the file")
    return tuple(_value(part.strip(), where) for part in inside.split(","))


def _value(text: str, where: str) -> float:
    match = _NUMBER.match(text)
    try:
        value = float(match.group(1)) if match else float(text)
    except ValueError:
        raise InputError(f"{where}: {text[:40]!r} is no number; check the file") from None
    if not 0 <= value <= 100:  # NaN is not either
        raise InputError(f"{where}: {text[:40]!r} is no accuracy in percent, 0 to 100; check the file")
    return value
