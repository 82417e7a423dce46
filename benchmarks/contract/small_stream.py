"""A data set and a suite of seconds, on which a method or a compressor shows what it does."""

from __future__ import annotations

from typing import Any

import torch

from cimbench.benchmarks.suite.config import Suite
from cimbench.benchmarks.suite.sections import DatasetParameters, MatrixParameters, MemoryParameters
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.images.packed_store import save_store
from cimbench.datasets.stream.augment import AugmentParameters
from cimbench.datasets.stream.split import ProtocolParameters, make_split, save_split
from cimbench.methods.memory.budget import BudgetParameters
from cimbench.methods.networks.network import NetworkParameters
from cimbench.methods.training.recipe import TrainingParameters

SEEDS = (3, 4)


def coloured_store(classes: int = 4, train: int = 12, test: int = 6, side: int = 16, seed: int = 0) -> ImageStore:
    """A set that is easy to learn: each class has a colour of its own under noise, and a bright patch with its box."""
    random = torch.Generator().manual_seed(seed)
    tint = torch.stack([torch.tensor([c % 2, c // 2 % 2, c // 4 % 2], dtype=torch.float32) for c in range(classes)])
    images, labels, names, is_test, boxes = [], [], [], [], []
    for part, count in (("train", train), ("test", test)):
        for label in range(classes):
            for number in range(count):
                noise = torch.rand(3, side, side, generator=random) * 90
                image = noise + 120 * tint[label].view(3, 1, 1)
                y, x = torch.randint(0, side // 2, (2,), generator=random).tolist()
                image[:, y : y + side // 3, x : x + side // 3] += 40
                images.append(image.clamp(0, 255).to(torch.uint8))
                boxes.append([x, y, x + side // 3, y + side // 3])
                labels.append(label)
                names.append(f"{part}/{label}/{number}")
                is_test.append(part == "test")
    return ImageStore.from_images(
        images,
        labels,
        class_names=tuple(f"class {c}" for c in range(classes)),
        names=tuple(names),
        is_test=torch.tensor(is_test),
        boxes=torch.tensor(boxes),
    )


def small_suite(epochs: int, methods: dict[str, Any], compressors: dict[str, Any]) -> Suite:
    """Two phases of the coloured images, some held out; methods, compressors: parameters by name."""
    return Suite(
        suite="check",
        device="cpu",
        matrix=MatrixParameters(methods=["replay"], compressors=["none"], seeds=list(SEEDS)),
        dataset=DatasetParameters(name="coloured", source="cluttered_digits", parameters={}),
        protocol=ProtocolParameters(name="lfs", phases=2, validation_share=0.25),
        budget=BudgetParameters(unit="raw_bytes", exemplars_per_class=2.0),
        memory=MemoryParameters(),
        network=NetworkParameters(architecture="resnet8", stem="strided", width=8, input_side=16),
        training=TrainingParameters(base_epochs=epochs, epochs=epochs, batch_size=8, learning_rate=0.05),
        augment=AugmentParameters(crop_padding=1),
        methods=methods,
        compressors=compressors,
    )


def place(suite: Suite, store: ImageStore, *seeds: int) -> None:
    """Put the data and the seeds' splits where the suite's cells look for them, below the working directory."""
    save_store(store, suite.store)
    for seed in seeds:
        save_split(make_split(store, suite.protocol, seed), store, suite.split_path(seed))
