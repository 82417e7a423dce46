"""From a log's settings and curves to runs by this suite's names: whose, of what, in how many phases, which network."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cimbench.benchmarks.imported.imported_run import SOURCES, ImportedRun
from cimbench.benchmarks.imported.text_logs import Curve, LoggedRun, read_log
from cimbench.benchmarks.registry import METHODS, find
from cimbench.datasets.errors import InputError, check_choice, check_file_name
from cimbench.datasets.stream.split import PROTOCOLS, ProtocolParameters, phase_sizes

# how many classes a data set of a log has
CLASSES = {"cifar10": 10, "cifar100": 100, "food101": 101, "imagenet100": 100, "imagenet1000": 1000}
HEADS = {"podnet": "cosine"}  # of the curve "CNN", of methods that are not here; else "linear"
V = TypeVar("V", int, str)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the log does not say, or is to be called otherwise: dataset may add to the log's own name.

    What contradicts the log is refused.
    """

    source: str | None = None
    method: str | None = None
    compressor: str | None = None
    dataset: str | None = None
    protocol: str | None = None
    phases: int | None = None
    seed: int | None = None


def imported_runs(path: Path, told: Told) -> list[ImportedRun]:
    """Every head of every run of a log; InputError where the log and what is told do not fit together."""
    found = read_log(path)
    if told.seed is not None and len(found) > 1:
        raise InputError(f"{path}: holds {len(found)} runs, so --seed {told.seed} says too little; give one a file")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    runs: list[ImportedRun] = []
    for logged in found:
        where = f"{path}: the run from line {logged.line} on"
        try:
            runs += _heads(logged, {"log_name": path.name, "log_digest": digest, **_common(logged.settings, told)})
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    return runs


def _common(settings: Mapping[str, str], told: Told) -> dict[str, Any]:
    """What all heads of a run share."""
    name = settings.get("model_name")
    method = _agreed("method", _method(name.lower()) if name else None, told.method)
    check_file_name("method", method)
    compressor = _agreed("compressor", _compressor(settings), told.compressor)
    check_file_name("compressor", compressor)
    protocol, phases = _protocol(settings, told)
    return {
        "source": told.source or _source(settings, method),
        "method": method,
        "compressor": compressor,
        "dataset": _dataset(settings.get("dataset"), told.dataset),
        "protocol": protocol,
        "phases": phases,
        "seed": _agreed("seed", _seed(settings), told.seed),
        **_exemplars(settings),
    }


def _heads(logged: LoggedRun, common: dict[str, Any]) -> list[ImportedRun]:
    """One run for each curve; FOSTER's student starts as the network of the first phase, which has one branch."""
    own = _head(common["method"])
    curves: dict[str, dict[int, Curve]] = {}
    for (head, top), curve in logged.curves.items():
        curves.setdefault(own if head == "CNN" else "nme", {})[top] = curve
    if logged.student[1] and 1 in curves.get(own, {}):
        student = {top: values for top, values in logged.student.items() if top in curves[own]}
        curves["student"] = {top: (curves[own][top][0], *values) for top, values in student.items()}
    runs = []
    for head, tops in curves.items():
        if 1 not in tops:
            raise InputError(f"{head} has a top-5 curve, but none of top-1; check the file")
        fifth = tops.get(5, ())  # a log may end between the two
        runs.append(
            ImportedRun(**common, head=head, curve=tops[1], curve_top5=fifth if len(fifth) == len(tops[1]) else ())
        )
    return runs


def _method(logged: str) -> str:
    """The method's name here: its own, or one that other code bases have for it."""
    other = {name: own for own in METHODS for name in getattr(find(METHODS, own), "other_names", ())}
    return other.get(logged, logged)


def _head(method: str) -> str:
    """Our name of the head that logs call CNN."""
    known = find(METHODS, method)
    return HEADS.get(method, "linear") if known is None else str(known.logged_head or known.head)


def _agreed(name: str, logged: V | None, told: V | None) -> V:
    """The one that is there; InputError where both differ, or none is there."""
    if logged is None and told is None:
        raise InputError(f"the log does not say its {name}; give --{name}")
    if logged is not None and told is not None and logged != told:
        raise InputError(f"--{name} is {told}, but the log says {logged}; leave it out, or give another log")
    return told if told is not None else logged  # type: ignore[return-value]


def _dataset(logged: str | None, told: str | None) -> str:
    """Its name here: as told, which may add to what the log says ("imagenet100-first")."""

    def plain(name: str) -> str:
        return name.lower().replace("-", "").replace("_", "")

    if logged is not None and told is not None and not plain(told).startswith(plain(logged)):
        raise InputError(f"--dataset is {told}, but the log says {logged}; leave it out, or give another log")
    name = told or logged
    if name is None:
        raise InputError("the log does not say its dataset; give --dataset")
    check_file_name("--dataset", name)
    return name


def _source(settings: Mapping[str, str], method: str) -> str:
    """Whose log it is, by the settings that one alone has."""
    if "mask_threshold" in settings:
        return "CIM-CIL"
    if method != "foster" or "exps/" in settings.get("config", ""):
        return "PyCIL"
    if "config" not in settings:
        raise InputError(f"the log does not say whose it is; give --source, one of {', '.join(SOURCES)}")
    return "FOSTER"


def _compressor(settings: Mapping[str, str]) -> str | None:
    if not settings:
        return None
    return "cim" if "mask_threshold" in settings else "none"


def _whole(settings: Mapping[str, str], name: str) -> int | None:
    """A setting that is a whole number above 0; None where the log does not have it."""
    if name not in settings:
        return None
    if not settings[name].isdecimal() or int(settings[name]) < 1:
        raise InputError(f"the log says {name}: {settings[name]}, which is no whole number above 0; check the file")
    return int(settings[name])


def _seed(settings: Mapping[str, str]) -> int | None:
    """The seed, told as a number or as a list of one."""
    if "seed" not in settings:
        return None
    try:
        value = ast.literal_eval(settings["seed"])
    except (ValueError, SyntaxError):
        value = None
    values = value if isinstance(value, list) else [value]
    if len(values) != 1 or type(values[0]) is not int:
        raise InputError(f"the log says seed: {settings['seed']}, which is not one whole number; give one run a file")
    return int(values[0])


def _exemplars(settings: Mapping[str, str]) -> dict[str, int | None]:
    """The budget: one total, or so many a class."""
    fixed = settings.get("fixed_memory", "False")
    check_choice("the log's fixed_memory", fixed, ("True", "False"))
    name = "memory_per_class" if fixed == "True" else "memory_size"
    return {"exemplars_per_class" if fixed == "True" else "exemplars_total": _whole(settings, name)}


def _protocol(settings: Mapping[str, str], told: Told) -> tuple[str, int]:
    """Protocol and phases: by the classes of the first phase and of each later one, else as told."""
    first, later = _whole(settings, "init_cls"), _whole(settings, "increment")
    classes = CLASSES.get(settings.get("dataset", ""))
    if first is None or later is None or classes is None:
        return _agreed("protocol", None, told.protocol), _agreed("phases", None, told.phases)
    fits = _fitting(first, later, classes)
    chosen = {name: phases for name, phases in fits.items() if told.protocol in (None, name)}
    if len(chosen) == 1:
        ((protocol, phases),) = chosen.items()
        return protocol, _agreed("phases", phases, told.phases)
    words = f"the log says {first} classes first and {later} in each later phase, of {classes}"
    if chosen:
        raise InputError(f"{words}, which fits {' and '.join(fits)}; give --protocol")
    raise InputError(
        f"{words}, which is {' and '.join(fits) or 'neither lfs nor lfh'}"
        f"{f', not {told.protocol}' if told.protocol else ''}; such a run has no place in a table of this suite"
    )


def _fitting(first: int, later: int, classes: int) -> dict[str, int]:
    """The protocols, with their phases, that spread `classes` classes like that."""
    sizes = [first]
    while sum(sizes) < classes:
        sizes.append(min(later, classes - sum(sizes)))
    counts: dict[str, Callable[[int], int]] = {"lfs": lambda count: count, "lfh": lambda count: count - 1}
    fits: dict[str, int] = {}
    for name in PROTOCOLS:
        phases = counts[name](len(sizes))
        if phases >= 1 and phases <= (classes if name == "lfs" else classes // 2):
            wanted = phase_sizes(ProtocolParameters(name=name, phases=phases), classes)
            fits |= {name: phases} if wanted == sizes else {}
    return fits
