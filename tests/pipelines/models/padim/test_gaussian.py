import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.core.errors import ModelError
from pipelines.models.engine.anomalib import MultiVariateGaussian
from pipelines.models.moments import Moments
from pipelines.models.padim.gaussian import WhiteningGaussian, estimate_plain, estimate_pooled, estimate_shared

_PRIOR_IMAGES, _RIDGE = 15.0, 0.3


def _moments(embedding: torch.Tensor, batch: int = 7) -> Moments:
    found = Moments(*embedding.shape[1:])
    for part in embedding.split(batch):
        found.update(part)
    return found


def _pooled_gaussian(embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    gaussian = WhiteningGaussian()
    gaussian.set(*estimate_pooled(_moments(embedding), _PRIOR_IMAGES, _RIDGE))
    return gaussian.mean, gaussian.whitening


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
    mean, whitening = _pooled_gaussian(embedding)
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
    mean, whitening = _pooled_gaussian(torch.rand(images, 60, 3, 4))
    assert torch.isfinite(mean).all()
    assert torch.isfinite(whitening).all()


def test_constant_images_give_a_metric() -> None:
    _, whitening = _pooled_gaussian(torch.ones(4, 7, 2, 2))
    assert float(whitening[0, 0, 0]) == pytest.approx(_RIDGE**-0.5, rel=1e-4)


def test_plain_estimate_equals_anomalibs_fit_in_float64() -> None:
    embedding = torch.randn(50, 12, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 4 + 9
    reference = MultiVariateGaussian().double()
    mean, inverse = reference.fit(embedding)
    found_mean, covariance = estimate_plain(_moments(embedding))
    expected = torch.linalg.inv(inverse.double())
    error = (covariance - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    assert float(error.max()) < 1e-4
    torch.testing.assert_close(found_mean.T, mean.double(), rtol=1e-6, atol=1e-6)


def test_two_halves_equal_the_whole_also_far_from_zero() -> None:
    embedding = torch.randn(30, 6, 2, 2, generator=torch.Generator().manual_seed(2)) + 1e4
    whole, half, other = _moments(embedding, 30), _moments(embedding[:11]), _moments(embedding[11:], 1)
    half.merge(other)
    assert half.images == whole.images == 30
    torch.testing.assert_close(half.scatter, whole.scatter, rtol=1e-9, atol=1e-6)
    points = embedding.double().flatten(2).permute(2, 0, 1).numpy()
    for at in range(4):
        np.testing.assert_allclose(whole.scatter[at].numpy() / 29, np.cov(points[at].T), rtol=1e-8)


def test_moments_are_saved_and_go_on_with_new_images(tmp_path: Path) -> None:
    embedding = torch.randn(9, 5, 2, 3, generator=torch.Generator().manual_seed(3))
    _moments(embedding[:4]).save(tmp_path / "moments.safetensors")
    found = Moments.load(tmp_path / "moments.safetensors")
    found.update(embedding[4:])
    torch.testing.assert_close(found.scatter, _moments(embedding).scatter)
    with pytest.raises(ModelError, match="do not fit"):
        found.merge(Moments(5, 3, 2))
    (tmp_path / "moments.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError, match="no moments"):
        Moments.load(tmp_path / "moments.safetensors")


def test_shared_estimate_is_the_gaussian_of_all_positions() -> None:
    embedding = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(4)) * 2 + 1
    mean, covariance = estimate_shared(_moments(embedding), _RIDGE)
    samples = embedding.permute(0, 2, 3, 1).reshape(-1, 4).double().numpy()
    np.testing.assert_allclose(mean[0].numpy(), samples.mean(0), rtol=1e-9)
    np.testing.assert_allclose(covariance[0].numpy() - _RIDGE * np.eye(4), np.cov(samples.T, bias=True), rtol=1e-9)


def test_fewer_images_than_dimensions_are_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    # Libraries raise and lower the level of all loggers, and leave behind what loggers remember of it.
    caplog.set_level(logging.WARNING, logger="pipelines.models.padim.model.gaussian")
    estimate_plain(_moments(torch.rand(3, 8, 2, 2)))
    assert "fewer than 8 dimensions" in caplog.text
