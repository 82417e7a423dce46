"""How many classes and training images the public data sets have, for plans made before they are fetched."""

from __future__ import annotations

# training images of archives that need not be here: classes, images, whether the count of each class is exact
OFFICIAL = {
    "food101": (101, 101 * 750, True),
    "imagenet100": (100, 128117, False),
    "imagenet100_first": (100, 128117, False),
    "imagenet1000": (1000, 1281167, False),
}
