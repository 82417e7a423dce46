"""A store of images to the store of their exemplars, by one compressor: what memory and artifact augmentation share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cimbench.datasets.image_store import ImageStore
from cimbench.methods.compression.boxes import Boxes
from cimbench.methods.compression.codecs import Codec
from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.compression.packing import pack_store
from cimbench.methods.compression.store import ExemplarStore
from cimbench.methods.networks.network import Network


class Compressed(NamedTuple):
    """exemplars: one for each image, in the images' order. kept_whole: (N,) bool, see Boxes."""

    exemplars: ExemplarStore
    kept_whole: Tensor


def compressed(
    images: ImageStore, compressor: Compressor, network: Network, codec: Codec, random: torch.Generator
) -> Compressed:
    """Every image as the exemplar it would be, packed on the network's device."""
    return with_boxes(images, compressor.boxes(images, network, random), compressor, network.device, codec)


def with_boxes(
    images: ImageStore, boxes: Boxes, compressor: Compressor, device: torch.device, codec: Codec
) -> Compressed:
    """As `compressed`, with boxes already chosen."""
    form = compressor.format(codec)
    exemplars = ExemplarStore.from_packed(pack_store(images, boxes.xyxy, form, device), form)
    return Compressed(exemplars, boxes.kept_whole)
