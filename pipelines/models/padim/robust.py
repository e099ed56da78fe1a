"""Clusters of surfaces in one folder, and Gaussians that few defects among the examples do not spoil. Arrays only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_score

_STEPS = 3
_LEVEL = 0.99  # of the remainder's distances: what each cluster's own are divided by
_SAMPLE = 2000  # tiles that a silhouette is computed on

Floats = NDArray[np.float32]


class RobustGaussian(NamedTuple):
    """Mean (c,), whitening matrix (c, c), the logarithm of the covariance's determinant, and the distance that 99 %
    of the remainder's cells stay below."""

    mean: Floats
    whitening: Floats
    log_det: float
    level: float

    def distances(self, cells: Floats) -> Floats:
        """Return the Mahalanobis distances (n,) of cells (n, c)."""
        return np.asarray(np.linalg.norm((cells.astype(np.float32) - self.mean) @ self.whitening, axis=1), np.float32)


def find_clusters(pooled: Floats, owners: NDArray[np.intp], most: int, separation: float) -> NDArray[np.intp]:
    """Tell which cluster of surfaces each tile's image is of.

    Whole images are clustered by the median of their tiles, so that a tile full of defect makes no cluster of its
    own. As many clusters are told apart as make the tiles' silhouette (Rousseeuw 1987) highest.

    Args:
        pooled: Mean features (tiles, c) of each tile; at least one.
        owners: The number of each tile's image, (tiles,).
        most: The most clusters, from 1 on.
        separation: What the silhouette must exceed, 0 to 1; else there is one cluster.

    Returns:
        Each tile's cluster (tiles,), numbered from 0 in the order of their first images.

    >>> tiles = np.float32([[0, 0], [0, 1], [9, 9], [9, 8], [0, 1], [1, 0]])
    >>> find_clusters(tiles, np.array([0, 0, 1, 1, 2, 2]), most=3, separation=0.25).tolist()
    [0, 0, 1, 1, 0, 0]
    """
    images, members = np.unique(owners, return_inverse=True)
    inside = np.mean([pooled[owners == p].var(axis=0) for p in images], axis=0)
    scaled = pooled / np.sqrt(np.maximum(inside, 1e-6))
    medians = np.stack([np.median(scaled[owners == p], axis=0) for p in images])
    best, found = separation, np.zeros(images.size, np.intp)
    for count in range(2, min(most, images.size - 1) + 1):
        labels = AgglomerativeClustering(count, linkage="average").fit_predict(medians)
        score = float(silhouette_score(scaled, labels[members], sample_size=min(_SAMPLE, len(scaled)), random_state=0))
        if score > best:
            best, found = score, labels.astype(np.intp)
    # Named by the first image of each, so that the order does not hang on the clustering.
    first = {cluster: n for n, cluster in enumerate(dict.fromkeys(found.tolist()))}
    return np.array([first[cluster] for cluster in found.tolist()], np.intp)[members]


def fit_robust(cells: Floats, contamination: float, ridge: float) -> RobustGaussian:
    """Fit a Gaussian to cells of which some may be anything.

    Three times the farthest share is left out and the rest fitted again (concentration steps: Rousseeuw and Van
    Driessen 1999, "A fast algorithm for the minimum covariance determinant estimator").

    Args:
        cells: Features (n, c), one row a cell; not changed.
        contamination: The largest share of cells that may be anything, 0 to 0.5.
        ridge: Added to every variance; above 0.

    Returns:
        The Gaussian of the remainder, with its 99 % quantile of distances as `level`.
    """
    found = _fit(cells, ridge)
    for _ in range(_STEPS):
        distances = found.distances(cells)
        near = distances <= np.quantile(distances, 1 - contamination)
        found = _fit(cells[near], ridge)
    return found._replace(level=float(np.quantile(found.distances(cells[near]), _LEVEL)))


def _fit(cells: Floats, ridge: float) -> RobustGaussian:
    exact = cells.astype(np.float64)
    mean = exact.mean(axis=0)
    # In place: np.cov would hold two more copies of all cells.
    exact -= mean
    covariance = exact.T @ exact / max(1, len(exact) - 1) + ridge * np.eye(exact.shape[1])
    factor = np.linalg.cholesky(covariance)
    whitening = np.linalg.inv(factor).T.astype(np.float32)
    log_det = float(2 * np.log(np.diagonal(factor)).sum())
    return RobustGaussian(mean.astype(np.float32), whitening, log_det, 1.0)
