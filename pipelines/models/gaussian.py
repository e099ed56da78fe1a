"""One Gaussian for each position of the feature grid, steadied by what all positions have in common."""

import torch
import torch.nn.functional as F

from pipelines.models.anomalib_api import MultiVariateGaussian

# The common Gaussian counts as this many images: with few images it carries the estimate, with many it only keeps
# each position's covariance away from singular.
_PRIOR_IMAGES = 15.0
# Added to every variance; a channel's variance over boards is about 15.
_RIDGE = 0.3
# A position shares its moments with its neighbours: a board never lies twice in the same place, and nine times the
# samples steady the covariance.
_NEIGHBOURHOOD = 3


class SteadyGaussian(MultiVariateGaussian):
    """PaDiM's Gaussians (Defard et al. 2021, section III-B) of small neighbourhoods, shrunk towards the common one.

    Mean and covariance are the posterior means under a normal-inverse-Wishart prior centred on the Gaussian of all
    positions together. anomalib's own adds 0.01 to each variance and no prior, so that with fewer images than channels
    most directions have a variance of 0.01.
    """

    whitening: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("whitening", torch.empty(0))

    def forward(self, embedding: torch.Tensor) -> list[torch.Tensor]:
        """Fit to embeddings (n, c, h, w); return means (c, hw) and whitening matrices (hw, c, c).

        (x - mean) @ whitening has unit covariance, so that its length is the Mahalanobis distance.
        """
        images, channels, height, width = embedding.shape
        points = embedding.flatten(2).permute(2, 0, 1)
        centre = points.mean((0, 1))
        deviations = points - centre
        means = _pool(deviations.mean(1), height, width)
        second = _pool((deviations.mT @ deviations / images).flatten(1), height, width)
        local = second.reshape(-1, channels, channels) - means[:, :, None] * means[:, None, :]
        weight = _PRIOR_IMAGES / (_PRIOR_IMAGES + images)
        flat = deviations.reshape(-1, channels)
        common = flat.T @ flat / len(flat)
        prior = weight * common + _RIDGE * torch.eye(channels, device=embedding.device)
        self.mean = (centre + (1 - weight) * means).T.contiguous()
        self.whitening = _whiten(prior + (1 - weight) * local)
        return [self.mean, self.whitening]


def _pool(moments: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Average moments (hw, k) over each position and its neighbours; beyond the rim the rim is repeated."""
    grid = moments.T.reshape(1, -1, height, width)
    reach = _NEIGHBOURHOOD // 2
    padded = F.pad(grid, (reach, reach, reach, reach), mode="replicate")
    return F.avg_pool2d(padded, _NEIGHBOURHOOD, stride=1).flatten(2)[0].T


def _whiten(covariances: torch.Tensor) -> torch.Tensor:
    """Return the transposed inverse Cholesky factors of (hw, c, c) covariances."""
    factors = torch.linalg.cholesky(covariances)
    identity = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    return torch.linalg.solve_triangular(factors, identity.expand_as(factors), upper=False).mT.contiguous()
