import numpy as np
import pytest
import torch

from pipelines.models.gaussian import _PRIOR_IMAGES, _RIDGE, SteadyGaussian


def _neighbourhood(embedding: torch.Tensor, row: int, column: int) -> np.ndarray:
    """Gather the samples of a position and its eight neighbours; beyond the rim the rim is taken again."""
    height, width = embedding.shape[2:]
    rows = [min(max(row + d, 0), height - 1) for d in (-1, 0, 1)]
    columns = [min(max(column + d, 0), width - 1) for d in (-1, 0, 1)]
    return np.concatenate([embedding[:, :, r, c].numpy() for r in rows for c in columns]).astype(np.float64)


def test_distances_equal_an_independent_mahalanobis() -> None:
    images, channels = 40, 5
    scale = torch.linspace(1, 4, 12).reshape(1, 1, 3, 4)
    embedding = torch.randn(images, channels, 3, 4, generator=torch.Generator().manual_seed(0)) * scale + scale
    mean, whitening = SteadyGaussian().fit(embedding)
    weight = _PRIOR_IMAGES / (_PRIOR_IMAGES + images)
    common = embedding.permute(0, 2, 3, 1).reshape(-1, channels).numpy().astype(np.float64)
    for at in range(12):
        own = _neighbourhood(embedding, *divmod(at, 4))
        centre = (1 - weight) * own.mean(0) + weight * common.mean(0)
        covariance = (
            (1 - weight) * np.cov(own.T, bias=True) + weight * np.cov(common.T, bias=True) + _RIDGE * np.eye(channels)
        )
        delta = embedding[0].flatten(1)[:, at].numpy() - centre
        expected = np.sqrt(delta @ np.linalg.inv(covariance) @ delta)
        found = ((embedding[0].flatten(1)[:, at] - mean[:, at]) @ whitening[at]).norm()
        assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_fewer_images_than_channels_still_give_a_finite_metric(images: int) -> None:
    mean, whitening = SteadyGaussian().fit(torch.rand(images, 60, 3, 4))
    assert torch.isfinite(mean).all()
    assert torch.isfinite(whitening).all()


def test_constant_images_give_a_metric() -> None:
    _, whitening = SteadyGaussian().fit(torch.ones(4, 7, 2, 2))
    assert float(whitening[0, 0, 0]) == pytest.approx(_RIDGE**-0.5, rel=1e-4)
