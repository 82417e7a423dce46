"""Logs of PyCIL, FOSTER and CIM-CIL become runs; what is cut off, mixed or contradictory is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cimbench.benchmarks.imported import text_logs
from cimbench.benchmarks.imported.log_runs import Told, imported_runs
from cimbench.datasets.errors import InputError
from tests.benchmarks.logs import CIM, FOOD, FOSTER, REPORTED, log, phases, settings

CIFAR = {"config": "./exps/icarl.json", **FOOD, "dataset": "cifar100", "memory_size": 2000}
ICARL = {**CIFAR, "init_cls": 50, "increment": 25, "model_name": "icarl", "seed": 1993}


def test_cim_cil_gives_teacher_and_student(tmp_path: Path) -> None:
    student = [85.0, 80.5, 75.0, 72.0, 70.0, 66.0, 63.0, 61.5, 60.25]
    path = log(tmp_path, settings(CIM) + phases(REPORTED, student))
    teacher, compressed = imported_runs(path, Told())
    common = (teacher.source, teacher.method, teacher.compressor, teacher.dataset, teacher.protocol, teacher.phases)
    assert common == ("CIM-CIL", "foster", "cim", "food101", "lfs", 10)
    assert (teacher.head, teacher.seed, teacher.exemplars_total, teacher.exemplars_per_class) == (
        "teacher",
        1993,
        2020,
        None,
    )
    assert teacher.curve == tuple(REPORTED)
    assert (round(teacher.average, 2), teacher.last) == (74.64, 62.86)  # as the notes on published numbers have it
    assert compressed.head == "student"
    assert compressed.curve == (91.49, *student)
    assert compressed.curve_top5 == (99.0, *[98.5] * 9)
    assert compressed.average == pytest.approx((91.49 + sum(student)) / 10)
    assert teacher.log_digest == compressed.log_digest


def test_pycil_from_half_with_two_heads_and_numpys_numbers(tmp_path: Path) -> None:
    curve = ["np.float64(76.4)", "np.float64(60.5)", "np.float64(51.25)"]
    text = settings(ICARL) + phases(curve, nme=[74.0, 62.0, "numpy.float32(53.0)"]).replace("'", "")
    linear, nme = imported_runs(log(tmp_path, text), Told(dataset="cifar100"))
    assert (linear.source, linear.method, linear.compressor, linear.head) == ("PyCIL", "icarl", "none", "linear")
    assert (linear.protocol, linear.phases, linear.exemplars_total) == ("lfh", 2, 2000)
    assert linear.curve == (76.4, 60.5, 51.25)
    assert linear.average == pytest.approx(188.15 / 3)
    assert (nme.head, nme.curve, nme.last) == ("nme", (74.0, 62.0, 53.0), 53.0)
    assert nme.curve_top5 == (99.5,) * 3


def test_seeds_one_after_another_and_a_run_begun_again(tmp_path: Path) -> None:
    """Files are appended to: here seed 1993 stopped after two phases, was begun again, and 1994 followed."""
    task = {**CIFAR, "init_cls": 25, "increment": 25, "model_name": "ucir"}
    first = settings({**task, "seed": 1993})
    text = first + phases([80.0, 70.0]) + first + phases([81.0, 71.0, 61.0, 51.0])
    text += settings({**task, "seed": "[1994]"}) + phases([82.0, 72.0, 62.0, 52.0])
    runs = imported_runs(log(tmp_path, text), Told())
    assert [(run.seed, run.curve, run.complete) for run in runs] == [
        (1993, (80.0, 70.0), False),
        (1993, (81.0, 71.0, 61.0, 51.0), True),
        (1994, (82.0, 72.0, 62.0, 52.0), True),
    ]
    assert {(run.method, run.head, run.protocol, run.phases) for run in runs} == {("lucir", "cosine", "lfs", 4)}
    with pytest.raises(InputError, match=r"output.log: stops after 2 of 4 evaluations, so there is no average"):
        _ = runs[0].average
    with pytest.raises(InputError, match="no last accuracy"):
        _ = runs[0].last


@pytest.mark.parametrize("kept", ["CNN top1 curve: [91.49, 86.99, 82", "CNN top1 curve: [91.49, 86.99", "CNN top"])
def test_a_log_that_ends_within_a_line_counts_up_to_the_line_before(tmp_path: Path, kept: str) -> None:
    text = settings(CIM) + phases(REPORTED)
    (run,) = imported_runs(log(tmp_path, text[: text.rindex(kept) + len(kept)]), Told())
    assert run.complete == (kept == "CNN top")  # the last such line is of top-5
    assert run.curve == tuple(REPORTED)[: len(run.curve)]


def test_a_student_number_cut_off_is_no_number(tmp_path: Path) -> None:
    text = settings(CIM) + phases(REPORTED[:2], [85.25])
    whole = text.index("CNN top1 curve: 85.25") + len("CNN top1 curve: 85")
    (run,) = imported_runs(log(tmp_path, text[:whole]), Told())
    assert (run.head, run.curve, run.complete) == ("teacher", (91.49,), False)


def test_an_excerpt_needs_the_rest_to_be_told(tmp_path: Path) -> None:
    path = log(tmp_path, f"CNN top1 curve: {REPORTED}\n")
    told = {
        "method": "foster",
        "compressor": "cim",
        "dataset": "food101",
        "protocol": "lfs",
        "phases": 10,
        "seed": 1993,
    }
    (run,) = imported_runs(path, Told(**told, source="CIM-CIL"))  # type: ignore[arg-type]
    assert (run.head, run.average) == ("teacher", pytest.approx(74.641))
    for name in told:
        with pytest.raises(InputError, match=rf"the log does not say its {name}; give --{name}"):
            imported_runs(path, Told(**{**told, name: None}, source="CIM-CIL"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not say whose it is; give --source, one of PyCIL, FOSTER, CIM-CIL"):
        imported_runs(path, Told(**told))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "source"),
    [
        ({"config": "./exps/foster.json"}, "PyCIL"),
        ({"config": "./configs/foster-imagenet100.json"}, "FOSTER"),
        ({"config": "./configs/x.json", "model_name": "der"}, "PyCIL"),
        ({"config": "./configs/x.json", "mask_threshold": 0.6}, "CIM-CIL"),
    ],
)
def test_whose_log_it_is(tmp_path: Path, changed: dict[str, Any], source: str) -> None:
    text = settings({**FOSTER, "seed": 1, **changed}) + phases([90.0])
    assert imported_runs(log(tmp_path, text), Told())[0].source == source


@pytest.mark.parametrize(
    ("changed", "told", "expected"),
    [
        ({"init_cls": 50, "increment": 10}, {}, ("lfh", 5)),
        ({"init_cls": 10, "increment": 10}, {}, ("lfs", 10)),
        ({"init_cls": 50, "increment": 50}, {"protocol": "lfs"}, ("lfs", 2)),
        ({"init_cls": 50, "increment": 50}, {"protocol": "lfh"}, ("lfh", 1)),
        ({"dataset": "cub200", "init_cls": 100, "increment": 20}, {"protocol": "lfh", "phases": 5}, ("lfh", 5)),
    ],
)
def test_protocol_and_phases_follow_from_the_classes(
    tmp_path: Path, changed: dict[str, Any], told: dict[str, Any], expected: tuple[str, int]
) -> None:
    path = log(tmp_path, settings({**ICARL, **changed}) + phases([90.0]))
    (run,) = imported_runs(path, Told(**told))
    assert (run.protocol, run.phases) == expected


@pytest.mark.parametrize(
    ("changed", "told", "message"),
    [
        ({"init_cls": 50, "increment": 50}, {}, "which fits lfs and lfh; give --protocol"),
        (
            {"init_cls": 40, "increment": 20},
            {},
            "40 classes first and 20 in each later phase, of 100, which is neither",
        ),
        ({}, {"protocol": "lfs"}, "which is lfh, not lfs; such a run has no place"),
        ({}, {"phases": 5}, "--phases is 5, but the log says 2"),
        ({}, {"dataset": "food101"}, "--dataset is food101, but the log says cifar100"),
        ({}, {"method": "wa"}, "--method is wa, but the log says icarl"),
        ({}, {"seed": 7}, "--seed is 7, but the log says 1993"),
        ({}, {"compressor": "cim"}, "--compressor is cim, but the log says none"),
        ({}, {"dataset": "cifar100/../x"}, "--dataset is 'cifar100/../x'; give a name"),
        ({"init_cls": "many"}, {}, "init_cls: many, which is no whole number above 0"),
        ({"memory_size": -1}, {}, "memory_size: -1, which is no whole number"),
        ({"fixed_memory": "maybe"}, {}, "the log's fixed_memory is 'maybe'"),
        ({"seed": "[1993, 1994]"}, {}, r"seed: \[1993, 1994\], which is not one whole number"),
        ({"model_name": "../up"}, {}, "method is '../up'; give a name"),
    ],
)
def test_what_contradicts_itself_is_told(
    tmp_path: Path, changed: dict[str, Any], told: dict[str, Any], message: str
) -> None:
    path = log(tmp_path, settings({**ICARL, **changed}) + phases([90.0]))
    with pytest.raises(InputError, match=rf"output.log: the run from line 1 on: .*{message}"):
        imported_runs(path, Told(**told))


def test_more_values_than_phases_are_told(tmp_path: Path) -> None:
    path = log(tmp_path, settings(ICARL) + phases([90.0, 80.0, 70.0, 60.0]))
    with pytest.raises(InputError, match="curve has 4 values, but lfh with 2 phases has 3; check phases and protocol"):
        imported_runs(path, Told())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no line such as 'CNN top1 curve"),
        (settings(CIM), "has no line such as 'CNN top1 curve"),
        ("CNN top1 curve: [nan]\n", "line 1: 'nan' is no accuracy in percent"),
        ("CNN top1 curve: [inf]\n", "'inf' is no accuracy"),
        ("CNN top1 curve: [101.0]\n", r"'101.0' is no accuracy in percent, 0 to 100"),
        ("CNN top1 curve: [-0.1]\n", "'-0.1' is no accuracy"),
        ("CNN top1 curve: [9x]\n", "'9x' is no number"),
        ("CNN top1 curve: []\n", "line 1: the curve is empty"),
        ("CNN top1 curve: [90.0, 80.0\nmore\n", "line 1 is cut off within a curve"),
        ("CNN top1 curve: 85.0\n", "line 1 is 'CNN top1 curve: 85.0', which is no curve"),
        (phases([90.0]) + "CNN top1 curve: [80.0, 70.0]\n", r"\[80.0, 70.0\] does not go on from \[90.0\] before it"),
        (settings(ICARL) + "CNN top5 curve: [90.0]\n", "linear has a top-5 curve, but none of top-1"),
        ("zero \0 bytes\n", "is no text .it has zero bytes.; name a log"),
    ],
)
def test_what_is_no_log_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"output.log: .*{message}"):
        imported_runs(log(tmp_path, text), Told())


def test_binary_absent_and_huge_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "output.log"
    with pytest.raises(InputError, match=r"output.log: cannot be read .No such file"):
        imported_runs(path, Told())
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(InputError, match=r"output.log: is no text .*at byte 0.; name a log"):
        imported_runs(path, Told())
    monkeypatch.setattr(text_logs, "LARGEST", 8)
    with pytest.raises(InputError, match=r"output.log: has more than 0 MB, which no such log has"):
        imported_runs(path, Told())
