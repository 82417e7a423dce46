"""What every method and compressor has to hold, whatever is inside. Each function raises UnmetError with the reason."""

from __future__ import annotations

import torch

from cimbench.benchmarks.cell.listeners import Listeners
from cimbench.benchmarks.cell.run import Bench, build, remember, run_cell, task
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.suite.config import Cell
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.compressor import Compressor, compressed
from cimbench.methods.compression.exemplars.codecs import RAW
from cimbench.methods.networks.network import Network


class UnmetError(Exception):
    """A requirement is not met; the message says what was found, and what was expected."""


def require(condition: bool, reason: str) -> None:
    """Raise UnmetError with the reason unless the condition holds."""
    if not condition:
        raise UnmetError(reason)


def check_record(record: Record, uses_memory: bool) -> None:
    """A complete cell's record: within its budget after every phase, exemplars of all classes, answers that add up."""
    require(record.complete, f"the cell has {len(record.phases)} of {len(record.group_sizes)} phases")
    for number, phase in enumerate(record.phases):
        where, account = f"phase {number + 1}", phase.memory
        require(
            account["spent"] <= account["limit"] <= account["budget"],
            f"{where}: {account['spent']} are spent of {account['limit']}, the budget is {account['budget']}",
        )
        seen = sum(record.group_sizes[: number + 1])
        require(
            len(account["exemplars"]) == seen,
            f"{where}: exemplars of {len(account['exemplars'])} classes are counted, {seen} are seen",
        )
        require(
            (sum(account["exemplars"]) > 0) == uses_memory,
            f"{where}: {sum(account['exemplars'])} exemplars, and uses_memory is {uses_memory}",
        )
        require(("nme" in phase.correct) == uses_memory, f"{where}: its heads are {', '.join(phase.correct)}")
        for head, counts in phase.correct.items():
            require(len(counts) == number + 1, f"{where}: {head} has counts of {len(counts)} groups")
            for right, among, tested in zip(counts, phase.correct_top5[head], record.tested, strict=False):
                require(0 <= right <= among <= tested, f"{where}: {head} has {right}, {among} and {tested}")


def check_cell(cell: Cell) -> Record:
    """Run the cell and check its record; nothing unfinished stays behind."""
    record = run_cell(cell, Listeners())
    check_record(record, build(cell).method.uses_memory)
    require(not cell.checkpoint.exists(), f"{cell.checkpoint} is left behind")
    return record


def learnt_bits(cell: Cell) -> tuple[list[float], dict[str, bytes]]:
    """Losses, and the bytes of weights and stored exemplars, after all phases."""
    bench = build(cell)
    losses: list[float] = []
    for phase in bench.stream:
        bench.method.learn(task(bench, phase, losses, Listeners()))
        if bench.method.uses_memory:
            remember(bench, phase)
    state = {**bench.method.state_dict(), **bench.memory.state_dict()}
    return losses, {name: value.cpu().numpy().tobytes() for name, value in state.items()}


def check_repeatable(cell: Cell, other_seed: Cell) -> None:
    """The same seed gives the same bits; another one does not, and starts from other weights.

    The first two run in one process, whose global random states go on: who draws from these is found out.
    """
    one, two, other = learnt_bits(cell), learnt_bits(cell), learnt_bits(other_seed)
    require(one[0] == two[0], f"two runs of seed {cell.seed} have other losses; first {one[0][:3]}, then {two[0][:3]}")
    changed = [name for name in one[1] if one[1][name] != two[1].get(name)]
    require(
        not changed,
        f"two runs of seed {cell.seed} differ in {', '.join(changed[:5])}; draw from generator(seed, ...) alone",
    )
    require(one[0] != other[0], f"seeds {cell.seed} and {other_seed.seed} have the same losses")
    first = next(iter(one[1]))
    require(one[1][first] != other[1].get(first), f"seeds {cell.seed} and {other_seed.seed} have the same {first}")


def check_state(cell: Cell) -> None:
    """A fresh method with the state goes on to the same features, scores and next phase as the one that it is from."""
    one, other = build(cell), build(cell)
    _learn(one, 0)
    other.method.load_state_dict({name: value.clone() for name, value in one.method.state_dict().items()})
    images = one.stream.test_so_far(0).resized(cell.suite.network.input_side).to(one.device)
    for when in ("at once", "after the next phase"):
        features = one.method.embed(images), other.method.embed(images)
        require(torch.equal(*features), f"features differ {when}; state_dict leaves something out")
        theirs = other.method.scores(images)
        for head, scores in one.method.scores(images).items():
            require(torch.equal(scores, theirs[head]), f"{head} differs {when}; state_dict leaves something out")
        if when == "at once":
            _learn(one, 1)
            _learn(other, 1)


def _learn(bench: Bench, phase: int) -> None:
    bench.method.learn(task(bench, bench.stream.phase(phase), [], Listeners()))


def check_learning(cell: Cell) -> None:
    """After each phase: features (N, F) and, by every head, scores (N, classes seen), all finite."""
    bench = build(cell)
    for phase in bench.stream:
        bench.method.learn(task(bench, phase, [], Listeners()))
        images = bench.stream.test_so_far(phase.index).resized(cell.suite.network.input_side).to(bench.device)
        features, scores = bench.method.embed(images), bench.method.scores(images)
        where = f"phase {phase.index + 1}"
        require(
            features.ndim == 2 and len(features) == len(images) and bool(torch.isfinite(features).all()),
            f"{where}: embed gives {tuple(features.shape)} for {len(images)} images; give (N, F), finite",
        )
        require(bool(scores), f"{where}: scores names no head")
        for head, values in scores.items():
            wanted = (len(images), phase.total_classes)
            require(tuple(values.shape) == wanted, f"{where}: {head} is {tuple(values.shape)}; give {wanted}")
            require(bool(torch.isfinite(values).all()), f"{where}: {head} holds values that are not finite")
        if bench.method.uses_memory:
            remember(bench, phase)


def check_boxes(compressor: Compressor, images: ImageStore, network: Network) -> None:
    """(N, 4) integers inside each image, and (N,) bool; the same for the same generator, drawn from alone."""
    one, two = (compressor.boxes(images, network, torch.Generator().manual_seed(0)) for _ in range(2))
    require(
        tuple(one.xyxy.shape) == (len(images), 4) and not one.xyxy.is_floating_point(),
        f"boxes are {tuple(one.xyxy.shape)} {one.xyxy.dtype}; give ({len(images)}, 4) int64",
    )
    require(
        tuple(one.stored_whole.shape) == (len(images),) and one.stored_whole.dtype == torch.bool,
        f"stored_whole is {tuple(one.stored_whole.shape)} {one.stored_whole.dtype}; give ({len(images)},) bool",
    )
    height, width = images.sizes.unbind(1)
    x0, y0, x1, y1 = one.xyxy.cpu().unbind(1)
    inside = (x0 >= 0) & (y0 >= 0) & (x0 <= x1) & (y0 <= y1) & (x1 <= width) & (y1 <= height)
    if not bool(inside.all()):
        place = int((~inside).nonzero()[0])
        size = f"{int(width[place])} x {int(height[place])}"
        raise UnmetError(f"box {one.xyxy[place].tolist()} leaves an image of {size}; give XYXY with exclusive ends")
    require(
        torch.equal(one.xyxy, two.xyxy),
        "a generator of the same seed gave other boxes the second time; draw from it alone",
    )


def check_storing(compressor: Compressor, images: ImageStore, network: Network) -> None:
    """As many exemplars as images, of their labels, which are read back in the images' own sizes."""
    random = torch.Generator().manual_seed(0)
    stored = compressed(images, compressor, network, compressor.format(RAW), random).exemplars.images()
    require(len(stored) == len(images), f"{len(stored)} exemplars of {len(images)} images")
    require(torch.equal(stored.labels.cpu(), images.labels), "exemplars have other labels than their images")
    require(torch.equal(stored.sizes.cpu(), images.sizes), "exemplars are read back in other sizes than their images")
