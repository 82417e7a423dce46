"""Images that are sent through a network that does not learn cost time: each method sends as few as its losses need."""

from __future__ import annotations

import pytest
import torch

from cimbench.benchmarks.cell.run import build, remember, task
from cimbench.benchmarks.suite.config import find_cell
from cimbench.methods.networks.resnet import ResNet
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import SEED, Silent, place

pytestmark = pytest.mark.usefixtures("workspace")
EPOCHS = 2


@pytest.mark.parametrize(
    ("method", "passes"),
    [
        ("replay", 0),
        ("icarl", 1),  # the old network's logits
        ("wa", 1),
        ("lucir", 1),  # the old network's features
        ("der", 1),  # the old branch; without the tuning of the classifier
        ("foster", 1 + 2),  # boosting: the old branch, whose features are the old model's; compression: the teacher
    ],
)
def test_frozen_passes_an_image(method: str, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tuning = {"tuning_epochs": 0} if method == "der" else {}
    suite = tiny_suite(methods={method: tuning}, training={"base_epochs": EPOCHS, "epochs": EPOCHS})
    place(suite, coloured_store())
    bench = build(find_cell(suite, method, "none", SEED))
    bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
    remember(bench, bench.stream.phase(0))
    second = task(bench, bench.stream.phase(1), [], Silent())
    seen = {"learnt": 0, "frozen": 0}
    real = ResNet.forward

    def counted(branch: ResNet, images: torch.Tensor, *given: str) -> torch.Tensor:
        network = bench.method.network
        asked = not network.training and any(module is branch for module in network.branches)
        if method == "foster" or not asked:  # others ask their own network between trainings, for means of features
            seen["learnt" if branch.training else "frozen"] += len(images)
        return real(branch, images, *given)

    monkeypatch.setattr(ResNet, "forward", counted)
    bench.method.learn(second)
    images = len(second.pool) * EPOCHS
    trainings = 2 if method == "foster" else 1
    assert seen["learnt"] == trainings * images
    assert seen["frozen"] == passes * images
