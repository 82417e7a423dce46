"""ImageNet-100 of LUCIR and FOSTER: a hundred classes drawn by NumPy's legacy generator, seed 1993."""

from __future__ import annotations

from pathlib import Path

from cimbench.datasets.progress import Advance
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.imagenet import ImageNetParameters, read_imagenet


def catalogue(parameters: ImageNetParameters, folder: Path, progress: Advance) -> Catalogue:
    """Its training and validation pictures; the latter are the test set."""
    return read_imagenet(parameters, folder, progress, "imagenet100")
