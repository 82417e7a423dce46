"""params.yaml: every wrong key, name and value is answered with its name and the remedy."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.differences import flatten
from cimbench.benchmarks.registry import METHODS
from cimbench.benchmarks.suite.compose import compose_parameters, compose_suite, suite_names
from cimbench.benchmarks.suite.config import Suite, check_artifacts, find_cell, load_suite, resolve_device
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.errors import InputError
from cimbench.datasets.stream.augment import AugmentParameters
from tests.conftest import ROOT, composed, replaced, tiny_parameters, tiny_suite


def broken(path: str, value: Any) -> dict[str, Any]:
    """The tiny parameters with one value changed (or, for ..., removed)."""
    content = json.loads(json.dumps(tiny_parameters()))
    *parents, last = path.split(".")
    section = content
    for parent in parents:
        section = section[parent]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return content


CASES = [
    ("training.epochz", 3, r"params.yaml.training.epochz is not a parameter; did you mean 'epochs'"),
    ("training.epochs", ..., r"params.yaml.training.epochs is missing"),
    ("training.epochs", "ten", r"params.yaml.training.epochs is 'ten'; give a whole number"),
    ("training.epochs", 2.5, r"training.epochs is 2.5; give a whole number"),
    ("training.epochs", True, r"training.epochs is True; give a whole number"),
    ("training.epochs", 0, r"training.epochs is 0; give 1 or more"),
    ("training.momentum", 1.0, r"training.momentum is 1.0"),
    ("training.learning_rate", float("nan"), r"training.learning_rate is nan"),
    ("training", 5, r"params.yaml.training is 5; give a mapping"),
    ("matrix.methods", ["iCarl"], r"method 'iCarl' is not known; did you mean 'icarl'"),
    ("matrix.compressors", ["class_activations"], r"did you mean 'class_activation'"),
    ("matrix.seeds", "1993", r"matrix.seeds is '1993'; give a list"),
    ("methods.replay", {"temperature": 2}, r"methods.replay.temperature is not a parameter"),
    ("budget.exemplars_per_class", 0, r"budget.exemplars_per_class is 0"),
    ("budget.exemplars_per_class", -2, r"budget.exemplars_per_class is -2"),
    ("budget.unit", "bytes", r"budget.unit is 'bytes'; .*raw_bytes"),
    ("budget.quality", 101, r"budget.quality is 101"),
    ("budget.codec", "raw", r"budget.codec is 'raw'; known: avif, jpeg, webp"),
    ("compressors.full.ratio", 1.0, r"compressors.full.ratio is 1.0; give more than 1"),
    ("compressors.random_box.threshold", 1.0, r"compressors.random_box.threshold is 1.0; give more than 0"),
    ("compressors.center_box.area", 0.0, r"compressors.center_box.area is 0.0; give more than 0, at most 1, or null"),
    ("compressors.foreground.inner_ratio", 17.0, r"foreground.inner_ratio is 17.0; give more than 1, at most 16"),
    ("compressors.phase_tau.thresholds", [], r"compressors.phase_tau.thresholds is empty"),
    ("compressors.jpeg.quality", 0, r"compressors.jpeg.quality is 0; give 1 to 100"),
    (
        "compressors.object_box.resampling",
        "cubic",
        r"object_box.resampling is 'cubic'; .*known: area_bilinear, nearest",
    ),
    ("compressors.full.artifacts", {"step": 0}, r"artifacts.step is 0.0; give more than 0"),
    ("compressors.none", {"ratio": 2}, r"compressors.none.ratio is not a parameter"),
    ("matrix.compressors", ["phase_tau"], r"phase_tau chooses on held-out images, but protocol.validation_share is 0"),
    ("memory.selection", "herdin", r"did you mean 'herding'"),
    ("protocol.name", "b50", r"protocol.name is 'b50'"),
    ("matrix.seeds", [-1], r"matrix.seeds is -1; give 0 or more, less than 2\^32"),
    ("matrix.methods", [], r"matrix.methods is empty"),
    ("protocol.order_seed", 2**32, r"protocol.order_seed is 4294967296"),
    ("methods.icrl", {"loss": "softmax"}, r"methods: method 'icrl' is not known; did you mean 'icarl'"),
    ("methods.icarl", {"los": "softmax"}, r"methods.icarl.los is not a parameter; did you mean 'loss'"),
    ("methods.icarl", {"distillation_weight": -1}, r"methods.icarl.distillation_weight is -1"),
    ("methods.joint", {"epochs": 0}, r"methods.joint.epochs is 0"),
    ("compressors.clas", {}, r"compressors: compressor 'clas' is not known"),
    ("compressors.class_activation", {"ratio": float("inf")}, r"class_activation.ratio is inf; give a finite number"),
    ("training.gradient_clip", 0, r"training.gradient_clip is 0"),
    ("augment.brightness", 2, r"augment.brightness is 2"),
    ("dataset.name", "../outside", r"dataset.name is '../outside'"),
    ("dataset.name", "/tmp/outside", r"dataset.name is '/tmp/outside'"),
    ("device", "gpu", r"device is 'gpu'"),
    ("suite", "../outside", r"suite is '../outside'"),
    ("augment.resized_crop_scale", [0.5], r"augment.resized_crop_scale is \[0.5\]; give 2 values"),
    ("network.width", 0, r"network.width is 0"),
]


@pytest.mark.parametrize(("path", "value", "words"), CASES, ids=[f"{path}={value}" for path, value, _ in CASES])
def test_bad_parameters_are_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(Suite, broken(path, value), "params.yaml")


@pytest.mark.parametrize(
    ("source", "parameters", "words"),
    [
        ("food102", {}, "dataset.source 'food102' is not known; did you mean 'food101'"),
        ("food101", {"archive": {"mirrors": ["x"]}, "archives": 3}, "did you mean 'archive'"),
        ("food101", {}, "dataset.parameters.archive is missing"),
        ("tiny_imagenet", {"archive": {"mirrors": ["x"], "checksum": "crc:1"}}, "checksum's algorithm is 'crc'"),
    ],
)
def test_bad_sources_are_named(source: str, parameters: dict[str, Any], words: str) -> None:
    suite = tiny_suite(dataset={"source": source, "parameters": parameters})
    with pytest.raises(InputError, match=words):
        suite.dataset.build_source()


def test_artifacts_that_would_never_be_worn_are_refused() -> None:
    """In the matrix when the suite is read, beside it when the cell is run."""
    sections: dict[str, Any] = {"compressors": {"full": {"ratio": 4.0, "artifacts": {}}}}
    words = r"compressors.full.artifacts.refresh_epochs is 40, but no phase has more than 4 epochs"
    with pytest.raises(InputError, match=words):
        tiny_suite(**sections, matrix={"methods": ["replay"], "compressors": ["full"], "seeds": [1]})
    with pytest.raises(InputError, match=words):
        check_artifacts(find_cell(tiny_suite(**sections), "replay", "full", 1))


def test_thresholds_and_ratios() -> None:
    for section, words in [
        ({"ratio": 1.0, "threshold": 0.5}, "class_activation.ratio is 1.0"),
        ({"ratio": 4.0, "threshold": 1.0}, "class_activation.threshold is 1.0"),
    ]:
        with pytest.raises(InputError, match=words):
            tiny_suite(compressors={"class_activation": section})


def test_a_missing_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == resolve_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="device is 'cuda', but torch sees no GPU here; set device to auto or cpu"):
        resolve_device("cuda")


@pytest.mark.usefixtures("workspace")
def test_the_command_line_prints_the_error_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cells"]) == 2
    assert "params.yaml: is not there" in capsys.readouterr().err
    Path("params.yaml").write_text("suite: [")
    assert main(["cells"]) == 2
    assert "is not valid YAML" in capsys.readouterr().err
    Path("params.yaml").write_text(yaml.safe_dump(broken("training.epochz", 3)))
    assert main(["run", "--method", "replay", "--compressor", "none", "--seed", "1"]) == 2
    assert "did you mean 'epochs'" in capsys.readouterr().err


@pytest.mark.usefixtures("workspace")
def test_json_is_the_same_suite() -> None:
    Path("params.yaml").write_text(yaml.safe_dump(tiny_parameters()))
    assert main(["export", "there.json"]) == 0
    assert load_suite(Path("there.json")) == load_suite(Path("params.yaml"))


def test_cells_are_the_matrix() -> None:
    suite = tiny_suite(matrix={"methods": ["replay", "icarl"], "compressors": ["none"], "seeds": [1, 2]})
    assert [cell.name for cell in suite.cells()] == ["replay-none-1", "replay-none-2", "icarl-none-1", "icarl-none-2"]


def test_bounds_run_once_a_seed() -> None:
    matrix = {"methods": ["replay"], "compressors": ["none", "full"], "seeds": [1, 2], "bounds": ["joint"]}
    names = [cell.name for cell in tiny_suite(matrix=matrix).cells()]
    assert names == ["replay-none-1", "replay-none-2", "replay-full-1", "replay-full-2", "joint-none-1", "joint-none-2"]
    with pytest.raises(InputError, match=r"matrix.bounds names icarl, which has a memory; name it in matrix.methods"):
        tiny_suite(matrix={**matrix, "bounds": ["icarl"]})


def test_a_papers_recipe_is_the_methods_own() -> None:
    """What it names replaces the suite's; the rest, and every method without one, stays the suite's."""
    own = {"training": {"epochs": 7, "schedule": "steps", "milestones": [3, 5]}, "augment": {"flip": True, "cutout": 8}}
    recipes = {"icarl": own, "replay": {}}
    for recipe in ("shared", "paper"):
        suite = tiny_suite(recipe=recipe, recipes=recipes)
        cells = {name: find_cell(suite, name, "none", 1) for name in ("icarl", "replay")}
        assert (cells["replay"].training, cells["replay"].augment) == (suite.training, suite.augment)
        resolved = cells["icarl"].resolved()
        assert resolved["recipe"] == recipe
        if recipe == "shared":
            assert (cells["icarl"].training, cells["icarl"].augment) == (suite.training, suite.augment)
            continue
        assert cells["icarl"].augment == AugmentParameters(flip=True, cutout=8)
        differing = {"epochs": 7, "schedule": "steps", "milestones": [3, 5]}
        assert resolved["training"] == {**dataclasses.asdict(suite.training), **differing}
    with pytest.raises(InputError, match=r"recipe is paper, but recipes.der is missing; give it one"):
        replaced(suite, recipes={})
    with pytest.raises(InputError, match=r"recipes.icarl.parameters.los is not a parameter; did you mean 'loss'"):
        tiny_suite(recipe="paper", recipes={"icarl": {"parameters": {"los": "softmax"}}})
    with pytest.raises(InputError, match=r"recipes.icarl.training.epoch is not a parameter; did you mean 'epochs'"):
        tiny_suite(recipe="paper", recipes={"icarl": {"training": {"epoch": 7}}, "replay": {}})
    with pytest.raises(InputError, match=r"recipes: method 'icar' is not known; did you mean 'icarl'"):
        tiny_suite(recipes={"icar": {}})


def test_the_papers_recipes_are_complete() -> None:
    suite = build(Suite, composed("recipe=paper"), "params.yaml")
    assert suite.recipes.keys() == METHODS.keys()
    for method in METHODS:
        cell = find_cell(suite, method, "none", 1)
        assert cell.training.gradient_clip == suite.training.gradient_clip  # no part of a paper's recipe
    chosen = {
        method: find_cell(suite, method, "none", 1).build_method_parameters()[1]
        for method in ("foster", "der", "lucir")
    }
    assert chosen["foster"].compression_epochs == 130
    assert (chosen["der"].tuning_epochs, chosen["lucir"].less_forget) == (30, 10.0)
    shared = build(Suite, composed("recipe=shared"), "params.yaml")
    assert find_cell(shared, "lucir", "none", 1).build_method_parameters()[1].less_forget == 5.0
    own = build(Suite, composed("recipe=paper", "recipes.foster.training.epochs=3"), "params.yaml")
    assert find_cell(own, "foster", "none", 1).training.epochs == 3
    foster = find_cell(suite, "foster", "none", 1)
    assert (foster.training.base_epochs, foster.training.epochs, foster.training.batch_size) == (200, 170, 256)
    assert foster.augment.auto_augment == "imagenet"
    assert foster.augment.brightness == pytest.approx(63 / 255)


def test_the_identity_of_a_cell_has_every_number_that_matters() -> None:
    one = find_cell(tiny_suite(), "icarl", "class_activation", 1).resolved()
    names = flatten(one).keys()
    for name in ("training.epochs", "budget.unit", "method.loss", "compressor.threshold", "seed", "protocol.phases"):
        assert name in names
    assert one != find_cell(tiny_suite(), "icarl", "class_activation", 2).resolved()
    assert "methods" not in one  # another method's parameters are none of this cell's


def test_params_yaml_is_the_composed_default_suite() -> None:
    """params.yaml in git is what DVC composes from conf/."""
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == composed()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf/suite").glob("*.yaml")))
def test_every_suite_is_valid_and_is_called_like_its_file(name: str) -> None:
    suite = build(Suite, composed(f"suite={name}"), name)
    assert suite.suite == name
    suite.dataset.build_source()


PAPER_SIZED = ("food101", "imagenet100", "imagenet100-first", "imagenet1000")


@pytest.mark.parametrize("name", PAPER_SIZED)
def test_the_paper_sized_suites_are_the_papers(name: str) -> None:
    """The papers' settings, by hand."""
    suite = build(Suite, composed(f"suite={name}"), name)
    assert (suite.dataset.name, suite.recipe) == (name, "paper")
    network = suite.network
    assert (network.architecture, network.width, network.stem, network.input_side) == ("resnet18", 64, "imagenet", 224)
    assert (suite.protocol.name, suite.protocol.phases, suite.protocol.order_seed) == ("lfs", 10, 1993)
    assert (suite.budget.exemplars_per_class, suite.budget.sharing) == (20.0, "fixed_total")
    _, parameters = suite.dataset.build_source()
    foster = find_cell(suite, "foster", "cim", 1993)
    assert (foster.training.base_epochs, foster.training.epochs, foster.training.gradient_clip) == (200, 170, None)
    assert foster.build_compressor_parameters()[1].artifacts.refresh_epochs == 40
    assert foster.build_method_parameters()[1].beta1 == ((0.95,) if name == "food101" else (0.97,))
    checksums = {
        field.name: value.checksum.removeprefix("md5:")
        for field in dataclasses.fields(parameters)
        if (value := getattr(parameters, field.name)) is not None
    }
    assert checksums == (
        {"archive": "85eeb15f3717b99a5da872d97d918f87"}
        if name == "food101"
        else {
            "train": "1d675b47d978889d74fa0da5fadfb00e",
            "val": "29b22e2961454d5413ddabcf34fc5622",
            "devkit": "fa75699e90414af021442c21a62c3abf",
        }
    )


def test_a_data_set_is_not_called_like_another_source() -> None:
    """The name is what tables print."""
    with pytest.raises(InputError, match=r"dataset.name is 'imagenet100-first', which is another source than"):
        build(Suite, composed("suite=imagenet100", "dataset.name=imagenet100-first"), "params.yaml")
    with pytest.raises(InputError, match=r"dataset.name is 'imagenet100', which is another source than"):
        build(Suite, composed("suite=imagenet100-first", "dataset.name=imagenet100"), "params.yaml")
    build(Suite, composed("suite=imagenet100", "dataset.name=mine"), "params.yaml")


@pytest.mark.parametrize("name", suite_names(ROOT / "conf"))
def test_a_composed_suite_is_what_dvc_would_write_and_can_be_run(name: str) -> None:
    """Beside Hydra's own composition, read back from YAML."""
    assert compose_parameters(name, folder=ROOT / "conf") == composed(f"suite={name}")
    assert compose_suite(name, folder=ROOT / "conf").suite == name


def test_a_broken_suite_and_a_wrong_override_are_named(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "config.yaml").write_text("defaults: [_self_, suite: x]\n")
    (tmp_path / "suite/x.yaml").write_text("suite: [x\n")
    with pytest.raises(InputError, match="suite x with no overrides: "):
        compose_parameters("x", folder=tmp_path)
    with pytest.raises(InputError, match=r"suite tiny with matrix.sed=\[1\]: Could not override"):
        compose_parameters("tiny", ["matrix.sed=[1]"], ROOT / "conf")
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        compose_parameters("tinny", folder=ROOT / "conf")
