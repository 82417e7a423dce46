"""AutoAugment (Cubuk et al., CVPR 2019) on a batch: torchvision's policies and operations, our draws."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torchvision.transforms import v2

_LEVELS = 10


class BatchedAutoAugment(v2.AutoAugment):  # type: ignore[misc]
    """Each image of a batch gets a sub-policy of its own; images with the same operation and strength go together.

    torchvision applies one sub-policy to a whole batch and draws from the global generator.
    """

    def of_batch(self, images: Tensor, random: torch.Generator) -> Tensor:
        """(B, 3, H, W) uint8 -> the same, new. Operations are grouped, so their number does not grow with B."""
        count = len(images)
        chosen = torch.randint(len(self._policies), (count,), generator=random, device=random.device).tolist()
        draws = torch.rand(count, 2, 2, generator=random, device=random.device).tolist()
        out = images.clone()
        for step in range(2):
            groups: dict[tuple[str, float], list[int]] = {}
            for number, policy in enumerate(chosen):
                name, probability, level = self._policies[policy][step]
                happens, sign = draws[number][step]
                if happens < probability:
                    strength = self._strength(name, level, sign < 0.5, images.shape[-2:])
                    groups.setdefault((name, strength), []).append(number)
            for (name, strength), members in sorted(groups.items()):
                where = torch.tensor(members, device=images.device)
                out[where] = self._apply_image_or_video_transform(
                    out[where], name, strength, interpolation=self.interpolation, fill=self._fill
                )
        return out

    def _strength(self, name: str, level: int | None, negative: bool, size: torch.Size) -> float:
        strengths, signed = self._AUGMENTATION_SPACE[name]
        of_level = strengths(_LEVELS, *size)
        strength = 0.0 if of_level is None or level is None else float(of_level[level])
        return -strength if signed and negative else strength


@cache
def auto_augment(policy: str) -> BatchedAutoAugment:
    """The augmentation by one of torchvision's policies, "imagenet" or "cifar10"."""
    return BatchedAutoAugment(v2.AutoAugmentPolicy(policy))
