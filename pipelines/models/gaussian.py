"""One Gaussian for each position of the feature grid, steadied by what all positions have in common."""

import torch
from anomalib.models.components import MultiVariateGaussian

# The common Gaussian counts as this many images: with few images it carries the estimate, with many it only keeps
# each position's covariance away from singular.
_PRIOR_IMAGES = 15.0
# Added to every variance; a channel's variance over boards is about 15.
_RIDGE = 0.3


class SteadyGaussian(MultiVariateGaussian):
    """PaDiM's Gaussians (Defard et al. 2021, section III-B), shrunk towards the common one.

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
        images, channels = embedding.shape[:2]
        points = embedding.flatten(2).permute(2, 0, 1)
        common = points.reshape(-1, channels)
        weight = _PRIOR_IMAGES / (_PRIOR_IMAGES + images)
        means = points.mean(1)
        centre = common.mean(0)
        self.mean = torch.lerp(means, centre, weight).T.contiguous()
        prior = weight * _covariance(common - centre) + _RIDGE * torch.eye(channels)
        # Position by position: the scatter of all of them at once would be the largest tensor of a run.
        self.whitening = torch.stack(
            [_whiten(prior + (1 - weight) * _covariance(x - m)) for x, m in zip(points, means, strict=True)]
        )
        return [self.mean, self.whitening]


def _covariance(deviations: torch.Tensor) -> torch.Tensor:
    return deviations.T @ deviations / len(deviations)


def _whiten(covariance: torch.Tensor) -> torch.Tensor:
    factor = torch.linalg.cholesky(covariance)
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.solve_triangular(factor, identity, upper=False).T
