"""Counting of answers, and the nearest mean that the evaluation harness adds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cimbench.benchmarks.cell.evaluate import evaluate
from cimbench.benchmarks.cell.run import build
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.stream.augment import mirrored
from cimbench.methods.memory.nearest_mean import class_means, nearest_mean_scores
from tests.benchmarks.workplace import furnish
from tests.conftest import coloured_store


class Oracle:
    """Answers from a fixed table of scores."""

    def __init__(self, bench, scores: torch.Tensor) -> None:
        self.setup = bench.method.setup
        self._scores = scores

    def scores(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"linear": self._scores[: len(images)]}

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Columns of the picture: differs between a picture and its mirror image."""
        return images.float().mean((1, 2))


def test_counts_against_plain_loops(workspace: Path) -> None:
    furnished = furnish(workspace, coloured_store(classes=8), protocol={"phases": 4})
    bench = build(find_cell(furnished, "finetune", "none", 3))
    test = bench.stream.test_so_far(3)
    scores = torch.randn(len(test), 8, generator=torch.Generator().manual_seed(0))
    result = evaluate(Oracle(bench, scores), bench.memory, test, [2, 2, 2, 2], False)  # type: ignore[arg-type]
    correct, top5, confusion = [0] * 4, [0] * 4, np.zeros((8, 8), dtype=int)
    for row, label in zip(scores.numpy(), test.labels.tolist(), strict=True):
        order = np.argsort(-row)
        correct[label // 2] += int(order[0] == label)
        top5[label // 2] += int(label in order[:5])
        confusion[label, order[0]] += 1
    assert result.correct == {"linear": correct}
    assert result.correct_top5 == {"linear": top5}
    np.testing.assert_array_equal(result.confusion["linear"].numpy(), confusion)


def test_mirrored_means_reach_the_evaluation(workspace: Path) -> None:
    bench = build(find_cell(furnish(workspace), "replay", "none", 3))
    bench.memory.remember(bench.stream.phase(0), bench.method.network, torch.Generator())
    oracle, test = Oracle(bench, torch.zeros(100, 2)), bench.stream.test_so_far(0)
    replay = bench.memory.store.images()

    def means_of(mirror: bool) -> torch.Tensor:
        shown = [replay.resized(16), *([mirrored(replay.resized(16))] if mirror else [])]
        return class_means([oracle.embed(images) for images in shown], replay.labels, 2)

    for mirror in (False, True):
        means = means_of(mirror)
        expected = nearest_mean_scores(oracle.embed(test.resized(16)), means).argmax(1)
        result = evaluate(oracle, bench.memory, test, [2], mirror)  # type: ignore[arg-type]
        for true in (0, 1):
            for guess in (0, 1):
                count = int(((test.labels == true) & (expected == guess)).sum())
                assert int(result.confusion["nme"][true, guess]) == count
    assert not torch.allclose(means_of(False), means_of(True))
