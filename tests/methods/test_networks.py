import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.stream.augment import normalise
from cimbench.methods.networks.heads import CosineHead, LinearHead
from cimbench.methods.networks.network import Network, NetworkParameters, in_eval
from cimbench.methods.networks.resnet import ResNet
from tests.conftest import GOLDEN, textured_images

Golden = Callable[[str], dict[str, np.ndarray]]


def filled_resnet18(base_seed: int) -> ResNet:
    """The golden recipe's weights (resnet18_recipe.json), in float64."""
    recipe = json.loads((GOLDEN / "resnet18_recipe.json").read_text())
    network = ResNet((2, 2, 2, 2), 64, "imagenet").double().eval()
    state = network.state_dict()
    for entry in recipe["entries"]:
        name, kind, shape = entry["torchvision_name"], entry["kind"], entry["shape"]
        if name is None:
            continue
        z = np.random.RandomState(base_seed + entry["index"]).standard_normal(shape)
        value = {
            "conv_weight": lambda z=z, s=shape: z * np.sqrt(1 / np.prod(s[1:])),
            "bn_weight": lambda z=z: 1 + 0.1 * z,
            "bn_bias": lambda z=z: 0.1 * z,
            "bn_running_mean": lambda z=z: 0.1 * z,
            "bn_running_var": lambda z=z: 1 + 0.1 * np.abs(z),
        }[kind]()
        state[name] = torch.from_numpy(value.astype(np.float32)).double()
    network.load_state_dict(state)
    return network


def test_resnet18_is_the_references(golden: Golden) -> None:
    data = golden("forward_resnet18")
    network = filled_resnet18(int(data["base_seed"]))
    checked = 0
    for k in range(10):
        if f"input{k}_seed" not in data:
            break
        shape = data[f"input{k}_shape"].tolist()
        x = np.random.RandomState(int(data[f"input{k}_seed"])).standard_normal(shape).astype(np.float32)
        with torch.no_grad():
            maps = network(torch.from_numpy(x).double())
        np.testing.assert_allclose(maps.mean((2, 3)).numpy(), data[f"in{k}_relu_features_f64"], rtol=0, atol=1e-10)
        if f"in{k}_relu_fmap_f64" in data:
            stored = data[f"in{k}_relu_fmap_f64"]  # of the last input in float32
            np.testing.assert_allclose(maps.numpy(), stored, rtol=0, atol=1e-10 if stored.dtype == np.float64 else 1e-6)
        checked += 1
    assert checked >= 2


def parameters(**changes: object) -> NetworkParameters:
    values = {"architecture": "resnet8", "stem": "strided", "width": 4, "input_side": 32}
    return NetworkParameters(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 8), ("strided", 16), ("small", 32)])
def test_stems_set_the_resolution(stem: str, side: int) -> None:
    network = Network(parameters(stem=stem), torch.Generator().manual_seed(0))
    network.head.grow(3, torch.Generator().manual_seed(0))
    output = network(torch.zeros(2, 3, 32, 32))
    assert output.maps.shape == (2, 16, side // 4, side // 4)
    assert output.logits.shape == (2, 3)
    torch.testing.assert_close(output.features, output.maps.mean((2, 3)))


def test_weights_come_from_the_generator_alone() -> None:
    def weights(seed: int, global_seed: int) -> torch.Tensor:
        torch.manual_seed(global_seed)
        network = Network(parameters(), torch.Generator().manual_seed(seed))
        return torch.cat([p.flatten() for p in network.branches[0].parameters()])

    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))


def test_growing_keeps_old_rows() -> None:
    head = LinearHead(6)
    head.grow(2, torch.Generator().manual_seed(0))
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    head.grow(5, torch.Generator().manual_seed(1))
    assert head.classes == 5
    assert torch.equal(head.weight[:2], weight)
    assert torch.equal(head.bias[:2], bias)
    assert float(head.weight.detach().abs().max()) <= 6**-0.5
    assert float(head.weight[2:].detach().std()) > 0.1


def test_evaluation_does_not_depend_on_the_batch_and_restores_the_mode() -> None:
    network = Network(parameters(), torch.Generator().manual_seed(0)).train()
    network.head.grow(2, torch.Generator().manual_seed(0))
    before = network.branches[0].bn1.running_mean.clone()
    images = textured_images(7, 32, 32, 0)
    network.eval()
    expected = network(normalise(images))
    network.train()
    for part in ("logits", "features", "maps"):
        torch.testing.assert_close(in_eval(network, images, part, batch_size=3), getattr(expected, part).detach())
    assert network.training
    assert torch.equal(before, network.branches[0].bn1.running_mean)


def test_class_rows_are_the_labels_rows() -> None:
    network = Network(parameters(), torch.Generator().manual_seed(0))
    network.head.grow(4, torch.Generator().manual_seed(0))
    labels = torch.tensor([2, 0, 2])
    assert torch.equal(network.class_rows(labels), network.head.weight[[2, 0, 2]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "resnet81"}, "did you mean 'resnet"),
        ({"stem": "big"}, "network.stem"),
        ({"width": 0}, "width is 0"),
    ],
)
def test_bad_networks_are_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parameters(**change)


def test_channels_last_changes_the_layout_and_not_the_numbers() -> None:
    images = torch.rand(2, 3, 32, 32)
    plain, last = (Network(parameters(channels_last=on), torch.Generator().manual_seed(0)) for on in (False, True))
    for network in (plain, last):
        network.head.grow(2, torch.Generator().manual_seed(0))
        network.add_branch(torch.Generator().manual_seed(1), warm=False)
        network.double()
    for branch, contiguous in ((plain, True), (last, False)):
        assert all(b.layer2[0].conv1.weight.is_contiguous() == contiguous for b in branch.branches)
    for part, expected in zip(last(images.double()), plain(images.double()), strict=True):
        torch.testing.assert_close(part, expected)


def test_a_head_that_a_network_lacks_is_named() -> None:
    with pytest.raises(InputError, match="head is 'cosin'; did you mean 'cosine'"):
        Network(parameters(), torch.Generator(), "cosin")
    with pytest.raises(InputError, match="a network with a cosine head has one branch; more need a linear head"):
        Network(parameters(), torch.Generator(), "cosine").add_branch(torch.Generator(), warm=True)


def test_new_rows_without_old_ones_are_of_length_one() -> None:
    head = CosineHead(4)
    head.grow(2, torch.Generator().manual_seed(0))
    head.imprint(torch.tensor([[3.0, 0, 0, 4], [0, 2, 0, 0]]))
    torch.testing.assert_close(head.rows.detach(), torch.tensor([[0.6, 0, 0, 0.8], [0, 1, 0, 0]]))
