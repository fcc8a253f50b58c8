from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from compression.graphs.export import to_onnx
from compression.models.scorer import Scorer
from compression.models.siamese import SiameseConfig, SiameseNetwork

CONFIG = SiameseConfig(size=16, widths=(4, 8), convolutions=2, embedding=6)


@pytest.fixture(scope="module")
def network() -> SiameseNetwork:
    """In eval mode; its normalisations have seen pictures."""
    torch.manual_seed(0)
    network = SiameseNetwork(CONFIG)
    for _ in range(20):
        network(_pictures(32), _pictures(32))
    return network.eval()


def _pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 16, 16) * 255


def test_embeddings_have_length_one(network: SiameseNetwork) -> None:
    embedding = network.embedding(_pictures(5))
    assert embedding.shape == (5, 6)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(5))


def test_a_pair_of_equal_pictures_has_the_highest_logit(network: SiameseNetwork) -> None:
    pictures = _pictures(6)
    torch.testing.assert_close(
        network(pictures, pictures), (network.scale + network.bias).expand(6)
    )
    assert (network(pictures, pictures.roll(1, 0)) < network.scale + network.bias).all()


def test_neither_picture_comes_first(network: SiameseNetwork) -> None:
    first, second = _pictures(4), _pictures(4)
    torch.testing.assert_close(network(first, second), network(second, first))


def test_exposure_and_contrast_say_nothing(network: SiameseNetwork) -> None:
    first, second = _pictures(4), _pictures(4)
    torch.testing.assert_close(
        network(first, second), network(first * 0.5 + 30, second), rtol=1e-3, atol=1e-3
    )


def test_a_pair_s_logit_does_not_depend_on_its_batch(network: SiameseNetwork) -> None:
    first, second = _pictures(4), _pictures(4)
    torch.testing.assert_close(network(first, second)[2:3], network(first[2:3], second[2:3]))


def test_it_exports_with_any_batch(network: SiameseNetwork) -> None:
    first, second = _pictures(7), _pictures(7)
    example = {"probe": first[:3].numpy(), "reference": second[:3].numpy()}
    session = onnxruntime.InferenceSession(to_onnx(Scorer(network), example, "logit"))
    for rows in (1, 7):
        inputs = {"probe": first[:rows].numpy(), "reference": second[:rows].numpy()}
        (logits,) = session.run(None, inputs)
        expected = network(first[:rows], second[:rows]).detach().numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)
