"""Photographs that everyone has and may show, and a small network that tells them apart."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import torch
from torchvision.transforms.v2 import functional as transforms

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.preparing.decode import decode_rgb
from cimbench.datasets.randomness import generator
from cimbench.datasets.stream.augment import AugmentParameters
from cimbench.datasets.stream.feed import Resident
from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.method import Setup
from cimbench.methods.networks.network import Network, NetworkParameters
from cimbench.methods.replay import Replay, ReplayParameters
from cimbench.methods.training.pool import Pool
from cimbench.methods.training.recipe import TrainingParameters
from cimbench.methods.training.task import EpochReport, Task

NAMES = ("china.jpg", "flower.jpg")
# drawn by hand for these pictures, XYXY: the temple, the flower
OBJECT_BOXES = ((88, 26, 436, 392), (170, 80, 462, 368))
CLOSE_UPS = ((60, 96, 180, 176), (390, 130, 510, 210))  # at the edge of what boxes keep
SIDE = 64
_CROPS = 120  # of each picture


def sample_photographs() -> ImageStore:
    """scikit-learn's two sample images, 640 x 427 each, Creative Commons BY 2.0; the labels are their numbers."""
    from sklearn.datasets import load_sample_images

    images = [torch.from_numpy(image.copy()).permute(2, 0, 1) for image in load_sample_images().images]
    return ImageStore.from_images(images, [0, 1], class_names=NAMES, names=NAMES, boxes=torch.tensor(OBJECT_BOXES))


def random_crops(photos: ImageStore, count: int, purpose: str) -> ImageStore:
    """`count` squares of each picture, a third to all of its height, as (SIDE, SIDE) images with its label."""
    random = generator(0, "crops", purpose)
    crops, labels = [], []
    for number in range(len(photos)):
        image = photos.image(number)
        height, width = image.shape[-2:]
        for share, down, across in torch.rand(count, 3, generator=random).tolist():
            side = int(height * (1 + 2 * share) / 3)
            top, left = int(down * (height - side)), int(across * (width - side))
            crops.append(transforms.resized_crop(image, top, left, side, side, [SIDE, SIDE], antialias=True))
            labels.append(number)
    return ImageStore.from_images(crops, labels)


def trained_network(
    photos: ImageStore, progress: Callable[[int, int], None], compressor: Compressor | None = None
) -> Network:
    """A small ResNet that has learnt which of the pictures a crop is from; seconds on a CPU.

    compressor: one whose masks learn beside it.
    """
    crops = random_crops(photos, _CROPS, "training")
    epochs = 12
    setup = Setup(
        network=NetworkParameters(architecture="resnet8", stem="strided", width=16, input_side=SIDE),
        training=TrainingParameters(
            base_epochs=epochs, epochs=epochs, batch_size=32, learning_rate=0.05, gradient_clip=1.0
        ),
        augmentation=AugmentParameters(flip=True),
        seed=0,
        device=torch.device("cpu"),
        rational_activations=compressor is not None,
    )
    method = Replay(setup, ReplayParameters())

    def on_epoch(report: EpochReport) -> None:
        progress(report.epoch + 1, epochs)

    pool = Pool(images=Resident(crops.resized(SIDE)), labels=crops.labels)
    classes = len(photos)
    task = Task(phase=0, old_classes=0, total_classes=classes, pool=pool, on_epoch=on_epoch, compressor=compressor)
    method.learn(task)
    return method.network


def read_photographs(archive: Path) -> ImageStore:
    """All pictures of a tar archive, read in memory; InputError where it is absent or damaged."""
    try:
        with tarfile.open(archive, mode="r:") as members:
            files = [members.extractfile(member) for member in members if member.isfile()]
            images = [decode_rgb(file.read()) for file in files if file is not None]
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{archive}: cannot be read ({error}); name an uncompressed tar of photographs") from error
    return ImageStore.from_images(images, [0] * len(images))
