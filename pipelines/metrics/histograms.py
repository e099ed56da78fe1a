"""One image's pixel scores as histograms, over bins that are fixed before the first map."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import label
from scipy.sparse import csr_array

from pipelines.metrics.checks import Mask, MetricError, check_map

# The key under which pixels of all defects together are counted; mask values start at 1.
ANY_DEFECT = 0

# A diagonal hairline crack is one defect to an eye, and one region to MVTec's evaluation code and to anomalib.
_EIGHT_CONNECTED = np.ones((3, 3), dtype=int)


@dataclass(frozen=True)
class DefectCounts:
    """Pixels of one kind of defect in one image, as (1, bins) rows.

    `overlap` sums, over the regions, each region's share of its pixels in a bin; its total is the number of regions.
    """

    pixels: csr_array
    overlap: csr_array


@dataclass(frozen=True)
class ImageCounts:
    """One image: normal pixels per bin, (1, bins), and the counts of each mask value and of ANY_DEFECT."""

    normal: csr_array
    defects: dict[int, DefectCounts]
    maximum: float


def choose_edges(normal: ArrayLike, defective: ArrayLike, bins: int = 4096) -> NDArray[np.float32]:
    """Choose the inner edges of at most `bins` bins from samples of pixel scores.

    A quarter of the edges each goes to the quantiles of normal scores, to their upper tail (down to a millionth),
    to the quantiles of defective scores, and to a geometric grid from 2^-10 to 2^10 that resolves what the sample
    did not hold. Without samples the grid gets all.

    Args:
        normal: Sample of scores of normal pixels, >= 0, of any shape; may be empty.
        defective: Sample of scores of defective pixels, >= 0, of any shape; may be empty.
        bins: Most bins, 16 or more.

    Returns:
        Edges, float32, shape (bins - 1,) or fewer: distinct, rising and > 0, so that the first bin holds 0.

    Raises:
        MetricError: If there are too few bins, or a sample holds NaN, infinite or negative scores.
    """
    if bins < 16:
        raise MetricError(f"expected at least 16 bins, found {bins}", hint="leave the number of bins at its default")
    samples = [np.asarray(s, dtype=np.float32).ravel() for s in (normal, defective)]
    if any(s.size and not (np.isfinite(s).all() and s.min() >= 0) for s in samples):
        raise MetricError("a sample of pixel scores holds NaN or negative values", hint="check the version's maps")
    quarter = bins // 4
    even = np.linspace(0, 1, quarter)
    wanted = ((samples[0], even), (samples[0], 1 - np.geomspace(1e-6, 0.5, quarter)), (samples[1], even))
    chosen = [np.quantile(sample, points) for sample, points in wanted if sample.size]
    grid = np.geomspace(2.0**-10, 2.0**10, bins - 1 - quarter * len(chosen))
    edges = np.unique(np.concatenate([*chosen, grid]).astype(np.float32))
    return edges[edges > 0]


def _row(bins: NDArray[np.intp], size: int, weights: NDArray[np.float64] | None = None) -> csr_array:
    return csr_array(np.bincount(bins, weights=weights, minlength=size)[np.newaxis])


def _count_defect(bins: NDArray[np.intp], member: NDArray[np.bool_], size: int) -> DefectCounts:
    """Count the pixels where `member` holds; (H, W) bin numbers and (H, W) bool."""
    region = label(member, structure=_EIGHT_CONNECTED)[0][member]
    share = 1 / np.bincount(region)[region]
    inside = bins[member]
    return DefectCounts(_row(inside, size), _row(inside, size, share))


def count_image(
    anomaly_map: NDArray[np.float32], mask: Mask, valid: NDArray[np.bool_], edges: NDArray[np.float32]
) -> ImageCounts:
    """Count one image's pixel scores where `valid` or a defect is.

    A region is an 8-connected component: of mask > 0 for ANY_DEFECT, of mask == value for a type, so that two touching
    defects of different type are two regions when types are told apart.

    Args:
        anomaly_map: Map, float32, shape (height, width), finite and >= 0.
        mask: Mask (height, width), 0 for normal; another value is the number of a type, or true any defect.
        valid: Normal pixels that count (height, width): those of the region of interest. Defects count everywhere.
        edges: Inner edges of the bins, rising, as `choose_edges` gives them; an edge belongs to the bin below it.

    Returns:
        Counts over len(edges) + 1 bins; its `maximum` is the highest normal score, 0 without a normal pixel.

    Raises:
        MetricError: If shapes differ, or the map holds NaN, infinite or negative values.
    """
    check_map(anomaly_map, mask, valid)
    size = edges.size + 1
    # An edge belongs to the bin below it, so that the bins above an edge hold just what the verdict `>` flags.
    bins = np.searchsorted(edges, anomaly_map.astype(np.float32, copy=False), side="left")
    defective = mask > 0
    normal = valid.astype(bool) & ~defective
    values = [int(v) for v in np.unique(mask[defective])]
    kinds = {value: _count_defect(bins, mask == value, size) for value in values}
    if len(values) == 1:
        kinds[ANY_DEFECT] = kinds[values[0]]
    elif values:
        kinds[ANY_DEFECT] = _count_defect(bins, defective, size)
    return ImageCounts(_row(bins[normal], size), kinds, float(anomaly_map[normal].max(initial=0)))
