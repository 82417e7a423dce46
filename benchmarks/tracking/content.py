"""What runs say: names, tags, parameters and numbers, all of them read from records, so that an import says the same.

A cell is a run; the cells of a method with a compressor that differ in the seed alone are a group, and their summary
(mean and deviation over seeds) is the run above theirs.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cimbench.benchmarks.records.differences import flatten
from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report.tables import spread

_SPREAD = ("accuracy/", "top5_accuracy/", "final/")  # metrics whose deviation over seeds is a metric as well
_LONGEST = 500  # characters of a parameter


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number of the metric `name` after phase `step` (the first is 1); when: milliseconds since 1970."""

    name: str
    value: float
    step: int
    when: int


def title(record: Record) -> str:
    """A method with its compressor, for instance replay + cim."""
    return f"{record.config['method']['name']} + {record.config['compressor']['name']}"


def cell_name(record: Record) -> str:
    """The name of a cell's run, for instance replay + cim, seed 1993."""
    return f"{title(record)}, seed {record.config['seed']}"


def summary_name(records: Sequence[Record]) -> str:
    """The name of a summary, for instance replay + cim, mean of 3 seeds."""
    seeds = "one seed" if len(records) == 1 else f"mean of {len(records)} seeds"
    return f"{title(records[0])}, {seeds}"


def group_of(record: Record) -> str:
    """Equal for cells that differ in the seed alone."""
    return _digest([record.suite, {**record.config, "seed": None}, record.data_digest])


def members_of(records: Sequence[Record]) -> str:
    """Equal for the same measurements, in any order."""
    return _digest(sorted([record.run_id, record.provenance["started"]] for record in records))


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def begun(record: Record) -> int:
    """When the cell began, in milliseconds since 1970."""
    return int(1000 * datetime.datetime.fromisoformat(record.provenance["started"]).timestamp())


def reached(record: Record, phases: int) -> int:
    """When its first `phases` phases were done, had nothing interrupted them; in milliseconds since 1970."""
    return begun(record) + int(1000 * sum(sum(phase.seconds.values()) for phase in record.phases[:phases]))


def tags(record: Record) -> dict[str, str]:
    """What a reader tells runs apart by, in words; the same for a cell and its summary."""
    config, origin = record.config, record.provenance
    budget, network, hardware = config["budget"], config["network"], origin["hardware"]
    return {
        "suite": record.suite,
        "method": config["method"]["name"],
        "compressor": config["compressor"]["name"],
        "dataset": f"{config['dataset']['name']}, {len(record.class_names)} classes",
        "protocol": f"{config['protocol']['name'].upper()}, {len(record.group_sizes)} phases",
        "budget": f"{budget['exemplars_per_class']:g} exemplars a class, {budget['sharing']}, in {budget['unit']}",
        "network": f"{network['architecture']}, width {network['width']}, {network['input_side']} px",
        "recipe": config["recipe"],
        "hardware": hardware["processor"] if hardware["device"] == "cpu" else hardware["device"],
        "torch": origin["versions"]["torch"],
        "commit": f"{origin['commit'] or 'unknown'}{' (changed)' if origin['sources_changed'] else ''}",
        "data_digest": record.data_digest[:16],
    }


def parameters(config: dict[str, Any]) -> dict[str, str]:
    """A cell's configuration, one parameter a value."""
    return {key: str(value)[:_LONGEST] for key, value in flatten(config).items()}


def summary_parameters(records: Sequence[Record]) -> dict[str, str]:
    """What the cells have in common, and their seeds."""
    seeds = ", ".join(str(record.config["seed"]) for record in records)
    return {**parameters({k: v for k, v in records[0].config.items() if k != "seed"}), "seeds": seeds}


def phase_values(record: Record, number: int) -> list[Value]:
    """What was measured in phase `number`, counted from 0. Accuracies are over all classes seen."""
    phase = record.phases[number]
    values: dict[str, Any] = {
        "memory/exemplars": sum(phase.memory["exemplars"]),
        **{f"memory/{name}": phase.memory[name] for name in ("bytes_held", "spent", "mean_box_area", "box_overlap")},
        **{f"memory/{name}": phase.memory[name] for name in ("kept_whole", "exhausted_classes")},
        **{f"compressor/{name}": value for name, value in phase.memory["chosen"].items()},
        **{f"compressor/{name}": value for name, value in phase.memory["measured"].items()},
        "model/bytes": phase.model_bytes,
        "model/peak_memory_bytes": phase.peak_memory_bytes,
        "loss/last_epoch": phase.losses[-1],
        **{f"seconds/{step}": value for step, value in phase.seconds.items()},
    }
    tested = sum(record.tested[: number + 1])
    for head, correct in phase.correct.items():
        values[f"accuracy/{head}"] = sum(correct) / tested
        values[f"top5_accuracy/{head}"] = sum(phase.correct_top5[head]) / tested
    return _values(record, {name: value for name, value in values.items() if value is not None}, number + 1)


def final_values(record: Record) -> list[Value]:
    """The headline metrics of every head, and the seconds of all phases."""
    values = {
        f"final/{name}/{head}": value for head in record.heads for name, value in headline(record.counts(head)).items()
    }
    values["final/seconds"] = sum(sum(phase.seconds.values()) for phase in record.phases)
    return _values(record, values, len(record.phases))


def _values(record: Record, values: dict[str, Any], step: int) -> list[Value]:
    when = reached(record, step)
    return [Value(name=name, value=float(value), step=step, when=when) for name, value in values.items()]


def summary_values(records: Sequence[Record]) -> list[Value]:
    """Means over seeds of what every cell has, phase by phase and final; for accuracies the sample deviation as well.

    A deviation is called seed_deviation/<metric>; one seed has none.
    """
    found: dict[tuple[str, int], list[Value]] = defaultdict(list)
    for record in records:
        phases = [value for number in range(len(record.phases)) for value in phase_values(record, number)]
        for value in [*phases, *final_values(record)]:
            found[value.name, value.step].append(value)
    values = []
    for (name, step), members in found.items():
        if len(members) == len(records):
            over, when = spread([member.value for member in members]), max(member.when for member in members)
            values.append(Value(name=name, value=over.mean, step=step, when=when))
            if over.deviation is not None and name.startswith(_SPREAD):
                values.append(Value(name=f"seed_deviation/{name}", value=over.deviation, step=step, when=when))
    return values
