"""A paper's table as data (conf/tables/NAME.yaml): its settings, its rows, and what stands for each in results/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cimbench.benchmarks.report.papers.published_numbers import PublishedName
from cimbench.benchmarks.report.sizes import SHARES
from cimbench.benchmarks.suite.compose import compose_suite, load_table
from cimbench.benchmarks.suite.config import Suite
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.errors import InputError, check_choice
from cimbench.datasets.official_counts import OFFICIAL

# a data set as publications call it: its source here
DATASETS = {"Food-101": "food101", "ImageNet-100": "imagenet100", "ImageNet-1000": "imagenet1000"}
METRICS = ("average_accuracy", "last_accuracy", "exemplars_per_class")


@dataclass(frozen=True, kw_only=True)
class PaperSetting:
    """A column. suites: where its cells are, the first that has one wins. dataset, protocol, phases, budget: how
    published numbers name it (protocol and phases None where the source names none; budget: how it begins). size: a
    group of classes by the size of their objects. metric, published_metric: instead of the table's.
    """

    name: str
    suites: tuple[str, ...]
    dataset: str
    protocol: str | None
    phases: int | None
    budget: str = ""
    size: str | None = None
    metric: str | None = None
    published_metric: str | None = None

    def __post_init__(self) -> None:
        if not self.suites:
            raise InputError(f"settings: {self.name}: suites is empty; name at least one")
        if self.size is not None:
            check_choice(f"settings: {self.name}: size", self.size, tuple(SHARES))
        if self.metric is not None:
            check_choice(f"settings: {self.name}: metric", self.metric, METRICS)
        check_choice(f"settings: {self.name}: dataset", self.dataset, tuple(DATASETS))

    @property
    def classes(self) -> int:
        """Of its data set."""
        return OFFICIAL[DATASETS[self.dataset]][0]


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A method with a compressor, scored by one head; published: names of it in published numbers, best first.

    "{size}" in a published name becomes the setting's size, capitalised.
    """

    name: str
    method: str
    compressor: str
    head: str
    published: tuple[PublishedName, ...] = ()

    def published_names(self, setting: PaperSetting) -> tuple[PublishedName, ...]:
        """Its names in a setting."""
        size = (setting.size or "").capitalize()
        return tuple(
            PublishedName(method=name.method.replace("{size}", size), source=name.source) for name in self.published
        )


@dataclass(frozen=True, kw_only=True)
class PaperNote:
    """What a reader has to know of some rows (by name, or by what comes before a bracket), in one setting or all."""

    rows: tuple[str, ...]
    text: str
    setting: str | None = None

    def is_about(self, row: PaperRow, setting: PaperSetting) -> bool:
        """Whether it belongs to a cell of the table."""
        return row.name.partition(" (")[0] in self.rows and self.setting in (None, setting.name)


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """All of it; metric and published_metric are what the settings take unless they say otherwise."""

    title: str
    metric: str
    published_metric: str
    settings: tuple[PaperSetting, ...]
    rows: tuple[PaperRow, ...]
    notes: tuple[PaperNote, ...] = ()
    name: str = ""
    suites: Mapping[str, Suite] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, METRICS)
        names = {setting.name for setting in self.settings}
        for note in self.notes:
            rows = {row.name.partition(" (")[0] for row in self.rows}
            if unknown := [row for row in note.rows if row not in rows]:
                raise InputError(f"notes: row {unknown[0]!r} is none of {', '.join(sorted(rows))}")
            if note.setting is not None and note.setting not in names:
                raise InputError(f"notes: setting {note.setting!r} is none of {', '.join(sorted(names))}")


def load_paper_table(name: str) -> PaperTable:
    """The table and its suites; InputError where a suite is of another protocol, or budget units are mixed."""
    content = load_table(name)
    if taken := {"name", "suites"} & content.keys():
        raise InputError(f"conf/tables/{name}.yaml: {sorted(taken)[0]} is not a parameter; remove it")
    told = build(PaperTable, content, f"conf/tables/{name}.yaml")
    names = dict.fromkeys(suite for setting in told.settings for suite in setting.suites)
    suites = {suite: compose_suite(suite) for suite in names}
    table = PaperTable(**{**vars(told), "name": name, "suites": suites})
    check_comparable(table)
    return table


def check_comparable(table: PaperTable) -> None:
    """Raise InputError where the suites of a table measure different things."""
    for setting in table.settings:
        for suite in (table.suites[name] for name in setting.suites):
            measured = (suite.protocol.name.upper(), suite.protocol.phases)
            if setting.protocol is not None and measured != (setting.protocol, setting.phases):
                raise InputError(
                    f"conf/tables/{table.name}.yaml: setting {setting.name} is {setting.protocol} {setting.phases}, "
                    f"but suite {suite.suite} is {measured[0]} {measured[1]}; name a suite of that protocol"
                )
            each = suite.budget.exemplars_per_class
            fixed = suite.budget.sharing == "fixed_per_class"
            budget = f"{each:g} per class" if fixed else f"{each * setting.classes:.0f} total"
            for what, ours, theirs in (
                ("data set", suite.dataset.source, DATASETS[setting.dataset]),
                ("budget", budget, setting.budget or budget),
            ):
                if ours != theirs:
                    raise InputError(
                        f"conf/tables/{table.name}.yaml: setting {setting.name} has {what} {theirs}, but suite "
                        f"{suite.suite} {ours}; name a suite of that {what}"
                    )
    suites = table.suites.values()
    alike: dict[str, dict[str, object]] = {
        "budget units": {suite.suite: suite.budget.unit for suite in suites},
        "recipes": {suite.suite: suite.recipe for suite in suites},
        "networks": {suite.suite: suite.network for suite in suites},
    }
    for what, values in alike.items():
        if len(set(values.values())) > 1:
            shown = "; ".join(f"{name}: {value}" for name, value in values.items())
            raise InputError(f"conf/tables/{table.name}.yaml: mixes {what} ({shown}); give each a table of its own")
