"""Rational activations with coefficients of their own."""

from __future__ import annotations

import json

import numpy as np
import torch

from cimbench.methods.networks.rational import LIKE_RELU
from cimbench.methods.networks.resnet import ResNet
from tests.conftest import GOLDEN


def filled(base_seed: int, spread: float) -> ResNet:
    """The golden recipe's ResNet-18 with its rational coefficients, in float64 (resnet18_recipe.json)."""
    recipe = json.loads((GOLDEN / "resnet18_recipe.json").read_text())
    network = ResNet((2, 2, 2, 2), 64, "imagenet", rational_activations=True).double().eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for entry in recipe["entries"]:
        z = np.random.RandomState(base_seed + entry["index"]).standard_normal(entry["shape"])
        kind, name = entry["kind"], entry["name"]
        if not kind.startswith("rational"):
            value = {
                "conv_weight": lambda z=z: z * np.sqrt(1 / np.prod(z.shape[1:])),
                "bn_weight": lambda z=z: 1 + 0.1 * z,
                "bn_bias": lambda z=z: 0.1 * z,
                "bn_running_mean": lambda z=z: 0.1 * z,
                "bn_running_var": lambda z=z: 1 + 0.1 * np.abs(z),
            }[kind]()
            state[entry["torchvision_name"]] = torch.from_numpy(value.astype(np.float32)).double()
            continue
        columns = slice(0, 6) if kind == "rational_numerator" else slice(6, 10)
        value = np.array(LIKE_RELU[columns]) + spread * z
        state["rational"][position(name), columns] = torch.from_numpy(value.astype(np.float32)).double()
    network.load_state_dict(state)
    return network


def position(name: str) -> int:
    """The row of, for instance, layer_2_1.ratl_2.numerator; the stem's is ratl.numerator."""
    if name.startswith("ratl"):
        return 0
    block, activation = name.split(".")[:2]
    stage, number = (int(part) for part in block.split("_")[1:])
    return 1 + 4 * (stage - 1) + 2 * (number - 1) + int(activation[-1]) - 1
