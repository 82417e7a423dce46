"""One cell: the loop of phases. Needs torch alone: no tracking, no DVC, no plotting."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from cimbench.benchmarks.cell.checkpoint import load_checkpoint, save_checkpoint
from cimbench.benchmarks.cell.evaluate import Evaluation, evaluate
from cimbench.benchmarks.cell.gallery import write_boxes, write_gallery
from cimbench.benchmarks.cell.listeners import Listener
from cimbench.benchmarks.cell.peak_memory import peak_memory, reset_peak_memory
from cimbench.benchmarks.records.kept_results import make_room
from cimbench.benchmarks.records.provenance import provenance
from cimbench.benchmarks.records.record import PhaseRecord, Record
from cimbench.benchmarks.suite.config import Cell, check_artifacts, check_held_out, resolve_device
from cimbench.datasets.arrays import save_arrays
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.packed_store import open_store
from cimbench.datasets.randomness import generator
from cimbench.datasets.stream.feed import feed_of
from cimbench.datasets.stream.phases import ClassStream, Phase
from cimbench.datasets.stream.split import load_split
from cimbench.methods.memory.budget import Budget, mean_plain_cost
from cimbench.methods.memory.memory import ExemplarMemory
from cimbench.methods.method import Method, Setup
from cimbench.methods.training.artifacts import Artifacts
from cimbench.methods.training.checkpoints import Progress, State
from cimbench.methods.training.pool import Pool
from cimbench.methods.training.recipe import FIRST
from cimbench.methods.training.task import EpochReport, Task


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A cell's parts, built and ready."""

    cell: Cell
    stream: ClassStream
    method: Method
    memory: ExemplarMemory
    device: torch.device


def run_cell(cell: Cell, listener: Listener, *, reuse: bool = False) -> Record:
    """Run a cell, or go on from its checkpoint; results are in cell.folder after every phase.

    reuse: what was measured already with the same configuration, data, sources, torch and device is not learnt again.
    """
    bench = build(cell)
    fresh = new_record(bench)
    if not (cell.checkpoint.exists() or cell.phase_checkpoint.exists()):
        there = make_room(cell.folder, fresh.run_id)
        if there is not None and reuse:
            return there
    record, progress = resume(bench, fresh)
    listener.started(record, len(record.phases))
    for phase in map(bench.stream.phase, range(len(record.phases), len(bench.stream))):
        seconds, losses = {"learn": progress.seconds}, list[float]()
        reset_peak_memory(bench.device)
        save_progress(bench, record, progress)
        with clock(seconds, "learn", bench.device):
            bench.method.learn(task(bench, phase, losses, listener, progress))
        peak = peak_memory(bench.device)
        with clock(seconds, "remember", bench.device):
            if bench.method.uses_memory:
                remember(bench, phase)
        account = bench.memory.audit(phase.total_classes)
        with clock(seconds, "evaluate", bench.device):
            evaluation = evaluate_phase(bench, phase)
        record.phases.append(
            PhaseRecord(
                correct=evaluation.correct,
                correct_top5=evaluation.correct_top5,
                losses=losses,
                memory=account.as_json(),
                seconds=seconds,
                peak_memory_bytes=peak,
                model_bytes=sum(value.nbytes for value in bench.method.state_dict().values()),
            )
        )
        keep(bench, phase, record, evaluation)
        progress = new_progress(bench)
        listener.phase(record)
    for path in (cell.checkpoint, cell.phase_checkpoint):
        path.unlink(missing_ok=True)
    return record


def build(cell: Cell) -> Bench:
    """Load the data and the phases, construct method, compressor and memory."""
    suite = cell.suite
    device = resolve_device(suite.device)
    store = open_store(suite.store)
    stream = ClassStream(store, load_split(suite.split_path(cell.seed), store, suite.protocol, cell.seed))
    method_class, method_parameters = cell.build_method_parameters()
    compressor_class, compressor_parameters = cell.build_compressor_parameters()
    setup = Setup(
        network=suite.network,
        training=cell.training,
        augmentation=cell.augment,
        seed=cell.seed,
        device=device,
        rational_activations=compressor_class.rational_activations and method_class.uses_memory,
    )
    method: Method = method_class(setup, method_parameters)
    training_images = stream.train_so_far(len(stream) - 1)
    budget = Budget(
        parameters=suite.budget,
        plain_cost=mean_plain_cost(training_images, suite.budget),
        classes=len(store.class_names),
    )

    compressor = compressor_class(compressor_parameters)
    if method.uses_memory:
        check_held_out(suite, cell.compressor)
        check_artifacts(cell)
        if compressor.needs_object_boxes and not len(store.boxes):
            raise InputError(f"compressor {cell.compressor}: {suite.dataset.name} has no object boxes; choose another")
    memory = ExemplarMemory(budget, compressor, suite.memory.selection, device)
    return Bench(cell=cell, stream=stream, method=method, memory=memory, device=device)


def new_record(bench: Bench) -> Record:
    """An empty record that carries the cell's identity: configuration, data, split and sources."""
    cell = bench.cell
    config, origin = cell.resolved(), provenance(bench.device, cell.method, cell.compressor)
    split = bench.stream.split
    made_by = [origin["source_digest"], origin["versions"]["torch"], origin["hardware"]["device"]]
    identity = json.dumps([config, split.digest, made_by], sort_keys=True)
    return Record(
        run_id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        suite=cell.suite.suite,
        cell=cell.name,
        config=config,
        provenance=origin,
        data_digest=split.data_digest,
        class_names=list(bench.stream.store.class_names),
        group_sizes=bench.stream.group_sizes,
        tested=[len(phase.test) for phase in split.phases],
    )


def resume(bench: Bench, fresh: Record) -> tuple[Record, Progress]:
    """The record to go on with, method and memory brought to its state; without a checkpoint the folder is emptied.

    Beside it the trainings of the phase after it, as far as they came.
    """
    found = load_checkpoint(bench.cell.checkpoint, fresh)
    inside = load_checkpoint(bench.cell.phase_checkpoint, fresh)
    record, progress = fresh if found is None else found.record, new_progress(bench)
    if inside is not None and len(inside.record.phases) == len(record.phases):
        progress.states, progress.seconds = inside.states, inside.seconds
        record = inside.record if found is None else record  # with the time of its start
    if found is None:
        shutil.rmtree(bench.cell.folder, ignore_errors=True)
    else:
        bench.method.load_state_dict(found.states["method"])
        bench.memory.load_state_dict(found.states["memory"])
    return record, progress


def new_progress(bench: Bench) -> Progress:
    """Of a phase that has not begun."""
    return Progress(every=bench.cell.suite.checkpoint_epochs, batches=bench.cell.suite.checkpoint_batches)


def save_progress(bench: Bench, record: Record, progress: Progress) -> None:
    """From now on, write the trainings of the phase after `record`, with their time, where the suite says."""
    started, before = time.perf_counter(), progress.seconds

    def save(stages: Mapping[str, State]) -> None:
        seconds = before + time.perf_counter() - started
        save_checkpoint(bench.cell.phase_checkpoint, stages, record, seconds)

    progress.save = save


def task(bench: Bench, phase: Phase, losses: list[float], listener: Listener, progress: Progress | None = None) -> Task:
    """The phase's images and the memory, on the device; losses are collected as epochs end."""
    images = bench.stream.train_so_far(phase.index) if bench.method.sees_all_data else phase.train
    memory = bench.memory
    wears = memory.compressor.artifacts is not None and bench.method.uses_memory
    random = generator(bench.cell.seed, "artifacts", phase.index)

    def on_epoch(report: EpochReport) -> None:
        if report.stage == FIRST:
            losses.append(report.loss)
        listener.epoch(report)

    side = bench.cell.augment.source_side or bench.cell.suite.network.input_side
    feed = feed_of(images, side, bench.device, bench.cell.suite.feed, copies=2 if wears else 1)
    return Task(
        phase=phase.index,
        old_classes=phase.old_classes,
        total_classes=phase.total_classes,
        pool=Pool(
            images=feed,
            labels=images.labels.to(bench.device),
            exemplars=memory.store if len(memory) else None,
            artifacts=Artifacts(images, memory.compressor, memory.augmentation_form, random, side, feed.ahead == 0)
            if wears
            else None,
        ),
        on_epoch=on_epoch,
        on_batch=listener.batch,
        progress=progress or Progress(),
        positions=phase.positions,
        compressor=memory.compressor if bench.method.uses_memory else None,
        nominal_exemplars=memory.budget.nominal(phase.old_classes),
    )


def remember(bench: Bench, phase: Phase) -> None:
    """Let the memory take the phase's exemplars, by the method's selecting network."""
    held_out = bench.stream.validation(phase.index) if bench.memory.compressor.needs_held_out else None
    random = generator(bench.cell.seed, "selection", phase.index)
    bench.memory.remember(phase, bench.method.exemplar_network, random, held_out)


def evaluate_phase(bench: Bench, phase: Phase) -> Evaluation:
    """All heads on the test images of all classes seen."""
    groups = bench.stream.group_sizes[: phase.index + 1]
    mirrored = bench.cell.suite.memory.mirrored_means
    return evaluate(bench.method, bench.memory, bench.stream.test_so_far(phase.index), groups, mirrored)


def keep(bench: Bench, phase: Phase, record: Record, evaluation: Evaluation) -> None:
    """Write the phase's results, then the checkpoint: what a checkpoint says is done is on the disk."""
    folder = bench.cell.folder
    for name, write in (("gallery", write_gallery), ("boxes", write_boxes)):
        write(folder / f"{name}-phase-{phase.index + 1}.png", phase, bench.memory, bench.method.exemplar_network)
    if record.complete:
        confusion = {head: matrix.numpy() for head, matrix in evaluation.confusion.items()}
        save_arrays(folder / "confusion.npz", confusion, {"rows": "true class", "columns": "predicted class"})
    record.save(folder)
    states: dict[str, dict[str, torch.Tensor]] = {
        "method": bench.method.state_dict(),
        "memory": bench.memory.state_dict(),
    }
    save_checkpoint(bench.cell.checkpoint, states, record)


@contextmanager
def clock(seconds: dict[str, float], step: str, device: torch.device) -> Iterator[None]:
    """Add the step's wall time; on a GPU only after it has finished its work."""
    start = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
