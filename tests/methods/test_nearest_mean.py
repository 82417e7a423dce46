import numpy as np
import torch

from cimbench.datasets.stream.augment import mirrored
from cimbench.methods.memory.nearest_mean import class_means, nearest_mean_scores
from tests.conftest import textured_images


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1).float()


def means_of(images: torch.Tensor, labels: torch.Tensor, classes: int, mirror: bool) -> torch.Tensor:
    return class_means([flat(images), *([flat(mirrored(images))] if mirror else [])], labels, classes)


def test_means_with_mirror_images_against_numpy() -> None:
    images, labels = textured_images(5, 3, 4, 0), torch.tensor([0, 1, 0, 1, 1])
    means = means_of(images, labels, 2, mirror=True).numpy()

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    pictures = images.numpy().astype(np.float64)
    features, mirror = unit(pictures.reshape(5, -1)), unit(pictures[..., ::-1].reshape(5, -1))
    for label in (0, 1):
        chosen = labels.numpy() == label
        expected = unit((features[chosen].mean(0) + mirror[chosen].mean(0)) / 2)
        np.testing.assert_allclose(means[label], expected, rtol=1e-5)
    assert not np.allclose(means, means_of(images, labels, 2, mirror=False).numpy())


def test_nearest_mean_by_hand() -> None:
    means = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    scores = nearest_mean_scores(torch.tensor([[5.0, 1.0], [0.1, 0.2]]), means)
    assert scores.argmax(1).tolist() == [0, 1]
    distance = np.linalg.norm(np.array([5.0, 1.0]) / np.sqrt(26) - np.array([1.0, 0.0]))
    np.testing.assert_allclose(-scores[0, 0].item(), distance, rtol=1e-5)


def test_a_class_without_exemplars_is_never_nearest() -> None:
    images = textured_images(2, 3, 4, 0)
    means = means_of(images, torch.tensor([0, 2]), 3, mirror=False)
    scores = nearest_mean_scores(flat(images), means)
    assert bool(torch.isneginf(scores[:, 1]).all())
    assert scores.argmax(1).tolist() == [0, 2]
