"""What feeds a training: decoding, augmentation, both from the disk, and an epoch beside the bare steps."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from cimbench.benchmarks.records.provenance import surroundings
from cimbench.benchmarks.throughput.inputs import DEVICES, archive_of_photographs
from cimbench.benchmarks.throughput.measure import Job, copy_step, measure, timed
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.reading.archives import open_files
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.stream.augment import MEAN, STANDARD_DEVIATION, AugmentParameters, augment
from cimbench.datasets.stream.feed import FeedParameters, Streamed
from cimbench.methods.networks.network import Network, NetworkParameters
from cimbench.methods.training.pool import Pool
from cimbench.methods.training.recipe import FIRST, TrainingParameters
from cimbench.methods.training.task import Task
from cimbench.methods.training.trainer import Trainer, compiled

SIDE, SHORT_SIDE = 224, 256
USUAL = AugmentParameters(resized_crop_scale=(0.08, 1.0), flip=True, brightness=0.25, source_side=SHORT_SIDE)
PAPER = AugmentParameters(
    resized_crop_scale=(0.08, 1.0), flip=True, brightness=63 / 255, auto_augment="imagenet", source_side=SHORT_SIDE
)
COPIES = {"cpu": 2, "cuda": 128}  # of the 64 photographs
BATCH = {"cpu": 32, "cuda": 256}
WIDTH = {"cpu": 16, "cuda": 64}  # a quarter of ResNet-18 on two cores: the whole one would hide any feed


@cache
def photograph_files() -> tuple[bytes, ...]:
    """64 ImageNet photographs as they came."""
    files = open_files(archive_of_photographs(), Path("build"))
    return tuple(files.read(name) for name in files.names)


def catalogue(copies: int) -> Catalogue:
    """Each photograph is a class, seen `copies` times for training and once for testing."""
    files = photograph_files()
    count = len(files) * (copies + 1)
    return Catalogue(
        origin="photographs",
        class_names=tuple(str(number) for number in range(len(files))),
        names=tuple(f"{number}.jpg" for number in range(count)),
        labels=torch.arange(count) % len(files),
        is_test=torch.arange(count) >= len(files) * copies,
        content=lambda index: files[index % len(files)],
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ImageStore]:
    """The photographs prepared with a short side of 256 pixels as JPEG, their training part; by device."""

    @cache
    def prepared(device: str) -> ImageStore:
        folder = tmp_path_factory.mktemp(device)
        how = PrepareParameters(short_side=SHORT_SIDE, encoding="jpeg")
        store = prepare(catalogue(COPIES[device]), how, folder / "store", folder / "partial")
        return store.subset(torch.nonzero(~store.is_test).flatten())

    return prepared


def decoders(device: str) -> list[str]:
    """Of JPEG bytes."""
    return ["cpu", "device"] if device == "cuda" else ["cpu"]


@pytest.mark.parametrize("device", DEVICES)
def test_decode_from_the_store(benchmark: BenchmarkFixture, stores: Callable[[str], ImageStore], device: str) -> None:
    """Packed JPEG bytes to squashed uint8 batches on the device; the reference is Pillow on one core."""
    store, there = stores(device), torch.device(device)
    count = min(len(store), 1024)
    feed = Streamed(store, SHORT_SIDE, there, FeedParameters(decoder=decoders(device)[-1]))
    assert feed.batch(torch.arange(4)).shape == (4, 3, SHORT_SIDE, SHORT_SIDE)
    files = [store.pixels.content(number).numpy().tobytes() for number in range(64)]

    def by_pillow() -> list[Image.Image]:
        opened = [Image.open(io.BytesIO(content)).convert("RGB") for content in files * (count // 64)]
        return [picture.resize((SHORT_SIDE, SHORT_SIDE), Image.Resampling.BILINEAR) for picture in opened]

    read = sum(len(store.pixels.content(number)) for number in range(count))
    job = Job(
        step="decode + squash", input=f"{count} JPEG of short side {SHORT_SIDE}", device=device, images=count,
        moved=read + count * 3 * SHORT_SIDE**2, bound="the JPEG decoder",
    )  # fmt: skip
    measure(benchmark, job, lambda: feed.batch(torch.arange(count)), reference=by_pillow)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "parameters"), [("usual", USUAL), ("paper's, AutoAugment", PAPER)])
def test_augment(benchmark: BenchmarkFixture, device: str, name: str, parameters: AugmentParameters) -> None:
    """uint8 batches on the device to what the network is given."""
    count = BATCH[device]
    images = torch.randint(0, 256, (count, 3, SHORT_SIDE, SHORT_SIDE), dtype=torch.uint8).to(device)
    random = torch.Generator(device).manual_seed(0)
    once, again = (augment(images, parameters, torch.Generator(device).manual_seed(1), SIDE) for _ in range(2))
    assert once.shape == (count, 3, SIDE, SIDE) and torch.equal(once, again)
    job = Job(
        step=f"augment, {name}", input=f"{count} of {SHORT_SIDE} x {SHORT_SIDE} to {SIDE}", device=device,
        images=count, moved=images.nbytes + 4 * count * 3 * SIDE**2,
        bound="sampling the crop" if name == "usual" else "AutoAugment's operations, one group after another",
    )  # fmt: skip
    measure(benchmark, job, lambda: augment(images, parameters, random, SIDE))


@pytest.mark.parametrize("device", DEVICES)
def test_feed(benchmark: BenchmarkFixture, stores: Callable[[str], ImageStore], device: str) -> None:
    """The whole feed of an epoch with nobody learning; the ceiling is decoding alone."""
    pool, random = pool_of(stores(device), device), torch.Generator(device).manual_seed(0)
    order = list(torch.split(torch.arange(len(pool)), BATCH[device]))
    for indices, (pixels, labels) in zip(order, pool.batches(order), strict=True):
        assert torch.equal(pixels, pool.images.batch(indices))
        assert torch.equal(labels, pool.labels[indices.to(device)])
    bound = "augmentation, decoding beside it" if device == "cpu" else "the JPEG decoder, augmentation beside it"
    job = Job(
        step="feed", input=f"{len(pool)} JPEG, batches of {BATCH[device]}", device=device, images=len(pool),
        moved=len(pool) * (3 * SHORT_SIDE**2 + 4 * 3 * SIDE**2), bound=bound, ceiling_name="decoding alone",
    )  # fmt: skip
    measure(
        benchmark,
        job,
        lambda: [len(augment(images, USUAL, random, SIDE)) for images, _ in pool.batches(order)],
        ceiling=lambda: [len(pool.images.batch(indices)) for indices in order],
    )


def pool_of(store: ImageStore, device: str) -> Pool:
    """The store's pictures, read while they are learnt."""
    feed = Streamed(store, SHORT_SIDE, torch.device(device), FeedParameters(decoder=decoders(device)[-1]))
    return Pool(images=feed, labels=store.labels.to(device))


def trainer_of(pool: Pool, device: str) -> Trainer:
    """ResNet-18, channels last and bfloat16 on a GPU, in the epoch loop that every method shares."""
    parameters = NetworkParameters(
        architecture="resnet18", stem="imagenet", width=WIDTH[device], input_side=SIDE, channels_last=device == "cuda"
    )
    network = Network(parameters, torch.Generator().manual_seed(0))
    network.head.grow(64, torch.Generator().manual_seed(0))
    network.to(device).train()
    precision = "bfloat16" if device == "cuda" else "float32"
    training = TrainingParameters(
        base_epochs=10**6, epochs=1, batch_size=BATCH[device], learning_rate=0.01, precision=precision
    )
    task = Task(phase=0, old_classes=0, total_classes=64, pool=pool, on_epoch=lambda _report: None)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(network(images).logits, labels)

    return Trainer(network, loss, task, training, USUAL, 0, FIRST)


def bare_steps(trainer: Trainer, count: int, device: str) -> Callable[[], None]:
    """As many steps of the same training on one of its own batches, which is already there."""
    pixels, labels = trainer.task.pool.batch(torch.arange(BATCH[device]))
    images = augment(pixels, USUAL, torch.Generator(device).manual_seed(0), SIDE)

    def steps() -> None:
        for _ in range(-(-count // BATCH[device])):
            trainer.step(images, labels)

    return steps


@pytest.mark.parametrize("device", DEVICES)
def test_epoch(benchmark: BenchmarkFixture, stores: Callable[[str], ImageStore], device: str) -> None:
    """A real epoch from the disk beside the bare steps: the share is what the feed leaves of the step's speed."""
    pool = pool_of(stores(device), device)
    trainer = trainer_of(pool, device)
    job = Job(
        step="epoch", input=f"{len(pool)} JPEG, ResNet-18 of width {WIDTH[device]}, {SIDE} px", device=device,
        images=len(pool), moved=len(pool) * 4 * 3 * SIDE**2, bound="the step" if device == "cuda" else "cores: "
        "the step and the decoder share them", ceiling_name="the bare steps",
    )  # fmt: skip
    with compiled(trainer.network, device == "cuda"):
        measure(benchmark, job, trainer.run_epoch, ceiling=bare_steps(trainer, len(pool), device))
    assert trainer.losses[-1] < trainer.losses[0]  # what is timed does learn


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reduced", [False, True], ids=["originals", "reduced"])
def test_epoch_by_torchvision(
    benchmark: BenchmarkFixture, stores: Callable[[str], ImageStore], tmp_path: Path, device: str, reduced: bool
) -> None:
    """The same epoch as one would write it otherwise: ImageFolder, DataLoader and the usual transforms on the files.

    On the files as they came, and on the reduced ones that the store has.
    """
    store = stores(device)
    pool = pool_of(store, device)
    trainer, files = trainer_of(pool, device), photograph_files()
    for number in range(len(pool)):
        target = tmp_path / f"{number % len(files):03d}" / f"{number}.jpg"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(store.pixels.content(number).numpy().tobytes() if reduced else files[number % len(files)])
    usual = v2.Compose(
        [
            v2.RandomResizedCrop(SIDE),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.25),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STANDARD_DEVIATION),
        ]
    )
    workers = 2 if device == "cpu" else 16
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        ImageFolder(str(tmp_path), usual), BATCH[device], shuffle=True, num_workers=workers,
        pin_memory=device == "cuda", persistent_workers=True,
    )  # fmt: skip

    def epoch() -> None:
        seen = 0
        for images, labels in loader:
            trainer.step(images.to(device, non_blocking=True), labels.to(device))
            seen += len(labels)
        assert seen == len(pool)  # as many as the other epoch learns

    job = Job(
        step="epoch by ImageFolder + DataLoader",
        input=f"{len(pool)} files {'reduced alike' if reduced else 'as they came'}, {workers} workers",
        device=device, images=len(pool), moved=len(pool) * 4 * 3 * SIDE**2, bound="Pillow and the transforms, on cores",
        ceiling_name="the bare steps",
    )  # fmt: skip
    with compiled(trainer.network, device == "cuda"):
        measure(benchmark, job, epoch, ceiling=bare_steps(trainer, len(pool), device))
    loader._iterator._shutdown_workers()  # type: ignore[union-attr] # they would slow what is measured after them


def lines_of(told: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    """Step, seconds and the most memory in use of each."""
    for step, words in (("prepare", "prepare a large set"), ("stream", "stream a large set")):
        yield words, told[f"{step}_seconds"], told[f"{step}_peak"]


@pytest.mark.parametrize("step", [0, 1], ids=["prepare", "stream"])
def test_memory_of_a_large_set(
    benchmark: BenchmarkFixture, tmp_path_factory: pytest.TempPathFactory, step: int
) -> None:
    """100,000 pictures in a process of its own: seconds, and the most memory that was resident."""
    told = large_set(str(tmp_path_factory.getbasetemp()))
    words, seconds, peak = list(lines_of(told))[step]
    assert peak < 2e9
    run: Callable[..., object] = benchmark.pedantic
    run(lambda: None, rounds=1)
    job = Job(
        step=words, input=f"100,000 JPEG, {told['bytes'] / 1e9:.1f} GB, at most {peak / 1e6:,.0f} MB resident",
        device="cpu", images=100_000, moved=int(told["bytes"]), bound="the JPEG decoder",
    )  # fmt: skip
    ceiling = timed(copy_step(1 << 28, "cpu"), "cpu") * told["bytes"] / (1 << 27)
    benchmark.extra_info |= {
        **job.__dict__, "seconds": seconds, "ceiling_seconds": ceiling, "reference_seconds": None, "memory": None,
        "surroundings": surroundings(torch.device("cpu")),
    }  # fmt: skip
    print(f"\n{words}: {100_000 / seconds:,.0f} images/s, {peak / 1e6:,.0f} MB resident at most")


@cache
def large_set(folder: str) -> dict[str, float]:
    """What the process told."""
    command = [sys.executable, "-m", "cimbench.benchmarks.throughput.large_set", folder, "100000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1800)
    told: dict[str, float] = json.loads(done.stdout)
    return told
