"""A host's learning beside a bare loop: the same network, batches, loss, optimiser and frozen passes, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from cimbench.benchmarks.cell import run
from cimbench.benchmarks.cell.listeners import Listeners
from cimbench.benchmarks.contract.small_stream import coloured_store, place, small_suite
from cimbench.benchmarks.suite.config import find_cell
from cimbench.benchmarks.throughput.measure import Job, measure
from cimbench.datasets.randomness import generator
from cimbench.datasets.stream.augment import augment
from cimbench.methods import method as of_hosts
from cimbench.methods.networks.network import NetworkParameters
from cimbench.methods.training import trainer
from cimbench.methods.training.trainer import train

HOSTS = ("replay", "icarl", "lucir", "foster")
RECIPES = {  # precision, channels last, compiled
    "float32": ("float32", False, False),
    "bfloat16, channels last": ("bfloat16", True, False),
    "bfloat16, channels last, compiled": ("bfloat16", True, True),
}
NETWORKS = {  # images a class, batch size
    "cpu": (NetworkParameters(architecture="resnet8", stem="strided", width=16, input_side=64), 960, 32),
    "cuda": (NetworkParameters(architecture="resnet18", stem="strided", width=64, input_side=64), 640, 128),
}
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
CASES = [
    *(pytest.param(host, "float32", "cpu", id=f"{host}-cpu") for host in HOSTS),
    *(
        pytest.param(host, name, "cuda", id=f"{host}-{name}-cuda", marks=NO_GPU)
        for name in RECIPES
        for host in HOSTS
        if host in ("replay", "foster") or "compiled" not in name  # compiling takes a minute
    ),
]


def trainings(host: str, recipe: str, device: str) -> list[tuple[Any, ...]]:
    """What the host would give to `train` in its second phase, after a first one of one epoch."""
    precision, channels_last, compiled = RECIPES[recipe]
    network, images, batch_size = NETWORKS[device]
    suite = small_suite(1, {}, {})
    training = replace(suite.training, batch_size=batch_size, precision=precision, compile=compiled)
    network = replace(network, channels_last=channels_last)
    suite = replace(suite, device=device, training=training, network=network)
    place(suite, coloured_store(train=images, side=network.input_side), 3)
    bench = run.build(find_cell(suite, host, "none", 3))
    first, second = bench.stream.phase(0), bench.stream.phase(1)
    bench.method.learn(run.task(bench, first, [], Listeners()))
    run.remember(bench, first)
    found: list[tuple[Any, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_hosts, "train", lambda *given: found.append(given))
        bench.method.learn(run.task(bench, second, [], Listeners()))
    return found


def bare_loop(given: tuple[Any, ...]) -> Callable[[], Tensor]:
    """One training's steps over batches that are there already."""
    network, loss, task, training, augmentation, seed, _ = given
    random = generator(seed, "bare", device=task.pool.device)
    order = torch.split(torch.randperm(len(task.pool), generator=generator(seed, "order")), training.batch_size)
    batches = [
        (augment(images, augmentation, random, network.input_side), labels)
        for images, labels in task.pool.batches(part for part in order if len(part) > 1)
    ]
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]

    def loop() -> Tensor:
        optimiser = torch.optim.SGD(
            learnt, training.learning_rate, training.momentum, weight_decay=training.weight_decay
        )
        value = torch.zeros(())
        network.train()
        with trainer.compiled(network, training.compile):
            for images, labels in batches:
                with torch.autocast(images.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
                    value = loss(images, labels)
                optimiser.zero_grad(set_to_none=True)
                value.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        network.eval()
        return value

    return loop


@pytest.mark.parametrize(("host", "recipe", "device"), CASES)
def test_learning_beside_a_bare_loop(
    benchmark: BenchmarkFixture, host: str, recipe: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One epoch of each of the host's trainings in a later phase."""
    monkeypatch.chdir(tmp_path)
    given = trainings(host, recipe, device)
    loops = [bare_loop(each) for each in given]
    assert len(given) == (2 if host == "foster" else 1)
    assert all(torch.isfinite(loop()) for loop in loops)
    images = sum(len(each[2].pool) for each in given)
    side = given[0][0].input_side
    job = Job(
        step=f"learning, {host}, {recipe}", input=f"{images} of {side} x {side}", device=device, images=images,
        moved=images * 3 * side * side, bound="the network", ceiling_name="a bare loop of the same steps",
    )  # fmt: skip

    def learn() -> None:
        for each in given:
            train(*each)

    measure(benchmark, job, learn, ceiling=lambda: [loop() for loop in loops])
