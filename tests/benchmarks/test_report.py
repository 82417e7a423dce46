"""Tables and pictures are recomputed from records whose numbers are worked by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.record import Record, load_record, shared_heads
from cimbench.benchmarks.report.differences import differences_table, paired
from cimbench.benchmarks.report.figures.curves import curve_figure
from cimbench.benchmarks.report.sizes import mean_areas, size_groups, sizes_table, write_sizes
from cimbench.benchmarks.report.tables import caption, footnotes, numbers_table, reading_table, write_tables
from cimbench.benchmarks.suite.config import find_cell, load_suite
from cimbench.datasets.arrays import load_arrays
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.packed_store import save_store
from tests.benchmarks.records import TWO_SEEDS, record
from tests.benchmarks.workplace import furnish
from tests.conftest import coloured_store, table_rows
from tests.methods.cells import Silent


def test_means_and_spread_by_hand() -> None:
    (row,) = numbers_table(TWO_SEEDS).to_dict("records")
    # averages (0.8 + 0.5) / 2 and (1.0 + 0.7) / 2; last 0.5 and 0.7; forgetting 0.4 and 0.4
    assert row["average_accuracy"] == pytest.approx(75.0)
    assert row["average_accuracy_sd"] == pytest.approx(np.std([65, 85], ddof=1))
    assert row["last_accuracy"] == pytest.approx(60.0)
    assert row["forgetting"] == pytest.approx(40.0)
    assert row["forgetting_sd"] == pytest.approx(0.0)
    assert (row["bytes_held"], row["exemplars"], row["seeds"], row["seconds"]) == (11001.5, 7.0, 2, 6.0)
    (text,) = reading_table(TWO_SEEDS).to_dict("records")
    assert text["average accuracy (%)"] == "75.0 ± 14.1"
    assert text["last accuracy (%)"] == "60.0 ± 14.1"
    assert text["budget"] == "12.0 kB"
    assert text["bytes held (kB)"] == "11.0"
    assert text["exemplars"] == "7.0 ± 0.0"
    assert text["per class"] == "1.8"


def test_one_seed_has_no_spread_and_says_so() -> None:
    (text,) = reading_table(TWO_SEEDS[:1]).to_dict("records")
    assert text["last accuracy (%)"] == "50.0"
    assert "One seed (1)" in caption(TWO_SEEDS[:1])


def test_paper_units_are_printed_as_images() -> None:
    (text,) = reading_table([record(1, [[8], [4, 6]], unit="paper_units")]).to_dict("records")
    assert text["budget"] == "12000.0 images"


def test_the_caption_says_what_was_measured() -> None:
    words = caption(TWO_SEEDS)
    for part in ("4 classes, LFS, 2 phases", "really held", "2 seeds (1, 2)", "A processor, 2 threads", "0123456789"):
        assert part in words


def test_files_and_absent_cells(tmp_path: Path) -> None:
    write_tables(tmp_path, TWO_SEEDS, {"icarl-none-1": "not run"})
    assert "- icarl-none-1: not run." in (tmp_path / "comparison.md").read_text()
    assert pd.read_csv(tmp_path / "comparison.csv")["last_accuracy"].tolist() == [60.0]
    tex = (tmp_path / "comparison.tex").read_text()
    assert "75.0 $\\pm$ 14.1" in tex
    assert "\\toprule" in tex


def of_compressor(compressor: str, seed: int, last: int) -> Record:
    made = record(seed, [[8], [4, last - 4]])
    made.config["compressor"] = {"name": compressor}
    return made


def test_paired_differences_by_hand() -> None:
    """Last accuracies in percent: 45, 50, 55 against 60, 70, 65 gives +15, +20, +10; t(2) = 4.302653."""
    records = [of_compressor("none", seed, last) for seed, last in ((1, 9), (2, 10), (3, 11))]
    records += [of_compressor("full", seed, last) for seed, last in ((1, 12), (2, 14), (3, 13))]
    records += [of_compressor("cim", 3, 12)]  # one seed shared: no pair
    (row,) = differences_table(records).to_dict("records")
    half = 4.302653 * 5 / 3**0.5
    assert row["last accuracy: difference [95 %]"] == f"+15.0 [{15 - half:+.1f}, {15 + half:+.1f}]"
    assert row["last accuracy: significant at 95 %"] == "yes"
    assert (row["against"], row["compressor"], row["head"], row["seeds"]) == ("none", "full", "linear", "3")
    assert not paired([1.0, 2.0], [0.0, 5.0]).significant
    assert paired([0.0, 1.0, 2.0], [5.0, 6.1, 7.0]).significant
    with pytest.raises(ValueError, match="one pair has no spread"):
        paired([1.0], [2.0])


def test_differences_are_written_where_there_are_pairs(tmp_path: Path) -> None:
    records = [of_compressor(name, seed, 9 + seed) for name in ("class_activation", "full") for seed in (1, 2)]
    assert tmp_path / "differences.md" in write_tables(tmp_path, records, {})
    (row,) = table_rows((tmp_path / "differences.md").read_text())
    assert (row["compressor"], row["against"], row["seeds"]) == ("full", "class_activation", "2")
    assert row["last accuracy: difference [95 %]"] == "+0.0 [+0.0, +0.0]"
    assert len(write_tables(tmp_path / "other", TWO_SEEDS, {})) == 3


def test_the_curve_shows_the_means_and_the_band_the_extremes() -> None:
    (axes,) = curve_figure(TWO_SEEDS).axes
    (line,) = axes.get_lines()
    assert line.get_xdata().tolist() == [1, 2]
    np.testing.assert_allclose(line.get_ydata(), [90, 60])
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(50)
    assert corners[:, 1].max() == pytest.approx(100)


def test_many_cells_have_a_panel_a_method_and_head() -> None:
    cells = []
    for method in ("replay", "wa", "icarl"):
        for compressor, right in (("none", 5), ("full", 9)):
            made = record(1, [[8], [right, 5]], method)
            made.config["compressor"]["name"] = compressor
            cells.append(made)
    panels = [axes for axes in curve_figure(cells).axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == ["replay, linear", "wa, linear", "icarl, linear"]
    for axes in panels:
        plain, full = axes.get_lines()
        assert (plain.get_label(), full.get_label()) == ("none", "full")
        np.testing.assert_allclose([plain.get_ydata()[1], full.get_ydata()[1]], [50, 70])


def test_a_head_that_a_later_phase_lacks_is_absent_with_its_reason() -> None:
    """A budget so small that the memory becomes empty: no nearest means, and the other numbers stay."""
    first, lost = record(1, [[8], [4, 6]]), record(2, [[7], [5, 5]])
    for made in (first, lost):
        for phase in made.phases:
            phase.correct["nme"], phase.correct_top5["nme"] = phase.correct["linear"], phase.correct_top5["linear"]
    del lost.phases[1].correct["nme"], lost.phases[1].correct_top5["nme"]
    assert lost.heads == ["linear"] and lost.lost_heads == ["nme"] and first.lost_heads == []
    assert shared_heads([first, lost]) == shared_heads([lost, first]) == ["linear"]
    assert list(numbers_table([first, lost])["head"]) == ["linear"]
    assert f"{lost.cell}: head nme is absent, since the memory was empty after a later phase." in footnotes(
        [first, lost], {}
    )


def test_the_command_writes_and_prints_what_was_measured(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = furnish(workspace, matrix={"compressors": ["none", "class_activation"]})
    assert main(["--params", "params.json", "report"]) == 2
    assert "no cell is complete; run them with dvc repro\n  replay-none-3: not run" in capsys.readouterr().err
    measured = run_cell(find_cell(suite, "replay", "none", 3), Silent())
    assert main(["--params", "params.json", "report"]) == 0
    assert main(["--params", "params.json", "show"]) == 0
    printed = capsys.readouterr().out
    last = 100 * sum(measured.phases[-1].correct["linear"]) / sum(measured.tested)
    assert f"{last:.1f}" in printed
    assert "- replay-class_activation-3: not run." in printed
    assert "results/test/tables/comparison.md" in printed
    assert printed.count("results/test/report.html") == 2  # report and show name the page
    (workspace / "results/test/report.html").unlink()
    assert main(["--params", "params.json", "show"]) == 0
    assert "report.html: not there yet (cimbench report)" in capsys.readouterr().out
    assert main(["--params", "params.json", "report"]) == 0
    pictures = workspace / "results/test/plots"
    assert {path.name for path in pictures.iterdir()} == {
        *("accuracy-over-phases.png", "accuracy-against-bytes.png", "memory-over-phases.png"),
        *("boxes.png", "what-the-memory-keeps.png"),
    }
    assert main(["--params", "params.json", "cells"]) == 0
    assert "replay-none-3  done\nreplay-class_activation-3  not run" in capsys.readouterr().out


def test_a_damaged_record_is_told(workspace: Path) -> None:
    folder = workspace / "cell"
    folder.mkdir()
    with pytest.raises(InputError, match="run the cell first"):
        load_record(folder)
    for content in ("{", "{}", '{"phases": []}'):
        (folder / "record.json").write_text(content)
        with pytest.raises(InputError, match="is damaged or of another version"):
            load_record(folder)


def test_a_cell_of_another_configuration_is_in_no_table(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else one caption would stand over two budgets."""
    suite = furnish(workspace, matrix={"methods": ["replay", "finetune"]})
    for cell in suite.cells():
        run_cell(cell, Silent())
    content = json.loads(Path("params.json").read_text())
    content["methods"]["replay"] = {}
    content["training"]["epochs"] = 9
    Path("params.json").write_text(json.dumps(content))
    run_cell(find_cell(load_suite(Path("params.json")), "finetune", "none", 3), Silent())
    assert main(["--params", "params.json", "show"]) == 0
    printed = capsys.readouterr().out
    assert "- replay-none-3: measured with another configuration (training.epochs is 4 there and 9 here)." in printed
    assert "finetune" in printed
    assert main(["--params", "params.json", "cells"]) == 0
    assert "1 of 2 cells" in capsys.readouterr().out


def test_what_a_method_leaves_out_is_a_footnote() -> None:
    one = record(1, [[8], [4, 6]])
    one.config["method"] = {**one.config["method"], "name": "der"}
    (note,) = [note for note in footnotes([one], {}) if note.startswith("der: ")]
    assert "without channel masks and pruning (w/o P)" in note


def test_odd_cases_of_the_memory_are_footnotes() -> None:
    odd = record(1, [[8], [4, 6]])
    odd.phases[1].memory.update(
        {"kept_whole": 1, "chosen": {"threshold": 0.5}, "exhausted_classes": 1, "exemplars": [0, 7]}
    )
    notes = " ".join(footnotes([odd], {}))
    assert "2 images were kept whole (a constant activation map" in notes
    assert "chosen phase by phase: threshold 0.5; threshold 0.5." in notes
    assert "2 classes had fewer images than their share" in notes
    assert "1 classes hold no exemplar" in notes


def test_sizes_of_objects_by_hand() -> None:
    """Boxes of 1, 2, ... of 16 pixels: ten classes make groups of 3, 4 and 3."""
    areas = {f"class {n}": (n + 1) / 16 for n in (4, 0, 9, 2, 7, 1, 3, 8, 5, 6)}
    groups = size_groups(areas)
    assert [len(members) for members in groups.values()] == [3, 4, 3]
    assert groups["small"] == ["class 0", "class 1", "class 2"]
    assert groups["large"] == ["class 7", "class 8", "class 9"]
    eleven = size_groups({**areas, "class 10": 0.9})
    assert [len(members) for members in eleven.values()] == [3, 5, 3]


def test_pictures_without_a_box_count_for_nothing(workspace: Path) -> None:
    """ImageNet has boxes for a part of its pictures: neither sizes nor overlaps are means with zeros."""
    store = coloured_store(train=6)
    store.boxes[:] = torch.tensor([0, 0, 8, 4])
    store.boxes[::2] = -1
    store.boxes[store.labels == 2] = -1
    assert mean_areas(store) == dict.fromkeys(("class 0", "class 1", "class 3"), 32 / 256)
    suite = furnish(workspace, store)
    record = run_cell(find_cell(suite, "replay", "object_box", 3), Silent())
    assert record.phases[-1].memory["box_overlap"] == 1.0


def test_a_group_without_a_class_says_so(workspace: Path) -> None:
    suite = furnish(workspace)
    cell = find_cell(suite, "finetune", "none", 3)
    groups = {"small": [], "middle": ["class 1", "class 2"], "large": []}
    (row,) = sizes_table([run_cell(cell, Silent())], [cell.folder], groups).to_dict("records")
    assert (row["small (%)"], row["large (%)"]) == ("no class", "no class")
    assert 0 <= float(row["middle (%)"]) <= 100


def test_accuracy_by_size_is_recounted_from_the_confusion(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each class has boxes of a size of its own; its rows of the confusion matrix are counted by hand."""
    store = coloured_store(train=6)
    for label, side in enumerate((9, 3, 5, 7)):  # the second class is the smallest
        store.boxes[store.labels == label] = torch.tensor([0, 0, side, side])
    suite = furnish(workspace, store)
    cell = find_cell(suite, "replay", "none", 3)
    record = run_cell(cell, Silent())
    assert main(["--params", "params.json", "report"]) == 0
    assert "results/test/tables/sizes.md" in capsys.readouterr().out
    text = (suite.results / "tables/sizes.md").read_text()
    confusion, _ = load_arrays(cell.folder / "confusion.npz")
    rows = {row["head"]: row for row in table_rows(text)}
    for head, counts in confusion.items():
        for name, group in (("class 1", "small"), ("class 0", "large")):
            place = record.class_names.index(name)
            assert rows[head][f"{group} (%)"] == f"{100 * counts[place, place] / counts[place].sum():.1f}"
    assert f"- small: class 1 ({9 / 256:.0%})" in text
    save_store(dataclasses.replace(store, boxes=torch.empty(0, 4, dtype=torch.int64)), workspace / "plain")
    for path in (workspace / "plain", workspace / "absent"):
        assert write_sizes(workspace, [record], [cell.folder], path) == []


def test_a_joint_that_is_beaten_is_said_to_be_no_bound() -> None:
    joint = record(1, [[8], [4, 6]], method="joint")
    notes = footnotes([record(1, [[8], [9, 9]]), joint], {})
    (note,) = [note for note in notes if note.startswith("joint is no")]
    assert note.startswith(
        "joint is no upper bound here: its last accuracy is 50.0 %, that of replay + none (linear) 90.0 %."
    )
    assert not any(note.startswith("joint is no") for note in footnotes([record(1, [[8], [4, 5]]), joint], {}))
