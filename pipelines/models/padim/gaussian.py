"""PaDiM's Gaussians from moments: one a position, one for all, and how they are pooled and shrunk."""

import logging

import torch
import torch.nn.functional as F

from pipelines.models.engine.anomalib import MultiVariateGaussian
from pipelines.models.moments import Moments
from pipelines.models.padim.settings import PadimSettings

# A position shares its moments with its neighbours: a board never lies twice in the same place, and nine times the
# samples steady the covariance.
_NEIGHBOURHOOD = 3
# What anomalib adds to every variance, in two places.
_PLAIN_RIDGE = 0.01 + 1e-5

log = logging.getLogger(__name__)


class WhiteningGaussian(MultiVariateGaussian):
    """Means (c, hw) and whitening matrices (hw, c, c), or (c, 1) and (1, c, c) where all positions share one.

    (x - mean) @ whitening has unit covariance, so that its length is the Mahalanobis distance (Defard et al. 2021,
    equation 2). anomalib keeps the inverse covariance instead, whose quadratic form can turn negative by rounding.
    """

    whitening: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("whitening", torch.empty(0))

    def set(self, mean: torch.Tensor, covariance: torch.Tensor) -> None:
        """Take means and covariances, kept in float32.

        Args:
            mean: (hw, c), or (1, c) for all positions.
            covariance: (hw, c, c) or (1, c, c), positive definite.

        Raises:
            torch.linalg.LinAlgError: If a covariance is not positive definite.
        """
        self.mean = mean.T.float().contiguous()
        self.whitening = whiten(covariance).float()


def estimate(moments: Moments, settings: PadimSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate means and covariances as `settings.gaussian` says.

    Args:
        moments: Of at least one image; not changed.
        settings: `gaussian`, where `auto` is taken for `pooled`, and with it `prior_images` and `ridge`.

    Returns:
        Means (hw, c) and covariances (hw, c, c), or (1, c) and (1, c, c) if shared; float32 if pooled, else float64.
    """
    if settings.gaussian == "per-position":
        return estimate_plain(moments)
    if settings.gaussian == "shared":
        return estimate_shared(moments, settings.ridge)
    return estimate_pooled(moments, settings.prior_images, settings.ridge)


def estimate_plain(moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """Return anomalib's estimate: means (hw, c), unbiased covariances (hw, c, c) with 0.01 + 1e-5 on the diagonal."""
    if moments.images <= moments.channels:
        log.warning(
            "padim: %d images are fewer than %d dimensions, most directions have no variance but the ridge",
            *(moments.images, moments.channels),
        )
    covariance = moments.scatter / max(1, moments.images - 1)
    return moments.mean, covariance + _PLAIN_RIDGE * torch.eye(moments.channels, dtype=covariance.dtype)


def estimate_shared(moments: Moments, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one Gaussian of all positions, for textures without fixed places.

    Args:
        moments: Of at least one image; not changed.
        ridge: Added to every variance; above 0.

    Returns:
        Mean (1, c) and covariance (1, c, c), float64.
    """
    pooled = moments.pooled()
    covariance = pooled.scatter / pooled.images
    return pooled.mean, covariance + ridge * torch.eye(moments.channels, dtype=covariance.dtype)


def estimate_pooled(moments: Moments, prior_images: float, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Gaussians of small neighbourhoods, shrunk towards the common one.

    Mean and covariance are the posterior means under a normal-inverse-Wishart prior centred on the Gaussian of all
    positions together (Gelman et al., Bayesian Data Analysis, section 3.6): with few images it carries the estimate,
    with many it only keeps each position's covariance away from singular.

    Args:
        moments: Of at least one image; not changed.
        prior_images: How many images the common Gaussian counts as; 0 and more.
        ridge: Added to every variance; above 0.

    Returns:
        Means (hw, c) and covariances (hw, c, c), float32, each over 3 x 3 positions.
    """
    pooled = moments.pooled()
    centre, common = pooled.mean[0], (pooled.scatter[0] / pooled.images).float()
    offsets = (moments.mean - centre).float()
    second = (moments.scatter / moments.images).float().baddbmm_(offsets[:, :, None], offsets[:, None, :])
    means = _pool(offsets, moments)
    local = (
        _pool(second.flatten(1), moments).reshape(second.shape).baddbmm_(means[:, :, None], means[:, None, :], alpha=-1)
    )
    weight = prior_images / (prior_images + moments.images)
    prior = weight * common + ridge * torch.eye(moments.channels)
    return centre.float() + (1 - weight) * means, local.mul_(1 - weight).add_(prior)


def _pool(values: torch.Tensor, moments: Moments) -> torch.Tensor:
    """Average (hw, k) over each position and its neighbours; beyond the rim the rim is repeated."""
    grid = values.T.reshape(1, -1, moments.height, moments.width)
    reach = _NEIGHBOURHOOD // 2
    padded = F.pad(grid, (reach, reach, reach, reach), mode="replicate")
    return F.avg_pool2d(padded, _NEIGHBOURHOOD, stride=1).flatten(2)[0].T


def log_density(features: torch.Tensor, mean: torch.Tensor, whitening: torch.Tensor) -> float:
    """Return the mean log-density of features, a dimension and without its constant.

    Args:
        features: (c, hw), of one tile.
        mean: (hw, c) or (1, c), of the same type.
        whitening: (hw, c, c) or (1, c, c) as `whiten` gives them: triangular.

    Returns:
        Nats a dimension, averaged over positions; comparable between Gaussians of the same channels.

    >>> log_density(torch.ones(1, 2), torch.zeros(1, 1), torch.ones(1, 1, 1))
    -0.5
    """
    deviations = (features.T - mean)[:, None] if len(mean) > 1 else (features.T - mean)[None]
    squares = (deviations @ whitening).square().sum(-1).mean()
    # The whitening matrix is triangular: the logarithms of its diagonal add up to -log|covariance| / 2.
    volume = whitening.diagonal(dim1=-2, dim2=-1).log().sum(-1).mean()
    return float(volume - squares / 2) / int(features.shape[0])


def whiten(covariances: torch.Tensor) -> torch.Tensor:
    """Return the transposed inverse Cholesky factors of (hw, c, c) covariances."""
    factors = torch.linalg.cholesky(covariances)
    identity = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    return torch.linalg.solve_triangular(factors, identity.expand_as(factors), upper=False).mT.contiguous()
