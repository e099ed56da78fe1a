"""Pixel metrics over whole images of any size, in memory that grows with the images and not with their pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, vstack

from pipelines.metrics.checks import Mask, MetricError
from pipelines.metrics.curves import aupro, auroc, average_precision
from pipelines.metrics.histograms import ANY_DEFECT, DefectCounts, ImageCounts, count_image

PIXEL_METRICS = ("pixel_auroc", "pixel_ap", "aupro")


@dataclass(frozen=True)
class PixelTable:
    """Every image's histograms, one row each, and what can be computed from any weighting of the rows.

    `normal`, and per mask value `pixels` and `overlap`, are (images, bins). `maxima` (images,) are the highest scores
    of normal pixels.
    """

    edges: NDArray[np.float32]
    normal: csr_array
    pixels: dict[int, csr_array]
    overlap: dict[int, csr_array]
    maxima: NDArray[np.float64]

    @property
    def images(self) -> int:
        return int(self.normal.shape[0])

    def images_for(self, defect: int) -> NDArray[np.int64]:
        """Weigh 1 the images that hold the defect or none at all, 0 those that hold other defects only."""
        return np.asarray(~self.holds(ANY_DEFECT) | self.holds(defect), dtype=np.int64)

    def holds(self, defect: int) -> NDArray[np.bool_]:
        """Say which images hold a pixel of the defect, (images,)."""
        if defect not in self.pixels:
            return np.zeros(self.images, dtype=bool)
        return np.asarray(self.pixels[defect].sum(axis=1) > 0)

    def select(self, rows: NDArray[np.intp]) -> "PixelTable":
        """Take the images of these row numbers, in this order; a row may be taken more than once."""
        return PixelTable(
            edges=self.edges,
            normal=self.normal[rows],
            pixels={value: found[rows] for value, found in self.pixels.items()},
            overlap={value: found[rows] for value, found in self.overlap.items()},
            maxima=self.maxima[rows],
        )

    def metrics(self, weights: ArrayLike | None = None, defect: int = ANY_DEFECT) -> dict[str, NDArray[np.float64]]:
        """Compute pixel_auroc, pixel_ap and aupro for each weighting of the images.

        Args:
            weights: How often each image counts, shape (images,) or (weightings, images). None: each once.
            defect: Mask value of a type, whose pixels alone are then positive while other defects' pixels are left out.
                ANY_DEFECT takes all types together. `images_for` gives weights that leave out images of other types.

        Returns:
            Figures 0 to 1 by name, scalars or (weightings,); NaN where a weighting holds no normal or no such defective
            pixel.

        Raises:
            MetricError: If there is not one weight an image.
        """
        chosen = np.ones(self.images) if weights is None else np.asarray(weights, dtype=np.float64)
        if chosen.ndim not in (1, 2) or chosen.shape[-1] != self.images:
            raise MetricError(
                f"expected weights for {self.images} images, found shape {chosen.shape}",
                hint="pass one weight each",
            )
        if defect not in self.pixels:
            return {name: np.full(chosen.shape[:-1], np.nan) for name in PIXEL_METRICS}
        normal, pixels, overlap = (chosen @ rows for rows in (self.normal, self.pixels[defect], self.overlap[defect]))
        areas = (auroc(normal, pixels), average_precision(normal, pixels), aupro(normal, overlap))
        return dict(zip(PIXEL_METRICS, areas, strict=True))

    def exceedance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute each image's share of normal pixels that exceed each threshold.

        Returns (images with a normal pixel, thresholds) shares and (thresholds,) rising thresholds: the edges
        below the highest normal score, then that score itself, which no normal pixel exceeds.
        """
        top = float(self.maxima.max(initial=0))
        inner = np.flatnonzero(self.edges < top)
        counts = self.normal.toarray()
        kept = counts[counts.sum(axis=1) > 0]
        above = np.cumsum(kept[:, ::-1], axis=1)[:, ::-1]
        shares = np.zeros((kept.shape[0], inner.size + 1))
        shares[:, :-1] = above[:, inner + 1] / above[:, :1]
        return shares, np.append(self.edges[inner].astype(np.float64), top)


class PixelHistograms:
    """Take images one by one and keep their histograms."""

    def __init__(self, edges: NDArray[np.float32]) -> None:
        """Fix the bins; see `choose_edges`."""
        self.edges = edges
        self._counts: list[ImageCounts] = []

    def add(self, anomaly_map: NDArray[np.float32], mask: Mask, valid: NDArray[np.bool_]) -> None:
        """Count one image.

        Args:
            anomaly_map: Map, float32, shape (height, width), finite and >= 0, on the scale of the edges.
            mask: Mask (height, width), 0 for normal; a value means the same type in every image.
            valid: Normal pixels that count (height, width): those of the region of interest. Defects count everywhere.

        Raises:
            MetricError: If shapes differ, or the map holds NaN, infinite or negative values.
        """
        self._counts.append(count_image(anomaly_map, mask, valid, self.edges))

    def table(self) -> PixelTable:
        """Stack what was counted so far."""
        size = self.edges.size + 1
        empty = csr_array((1, size))
        nothing = DefectCounts(empty, empty)
        values = sorted({value for counts in self._counts for value in counts.defects})
        found = {value: [c.defects.get(value, nothing) for c in self._counts] for value in values}
        return PixelTable(
            edges=self.edges,
            normal=_stack([c.normal for c in self._counts], size),
            pixels={value: _stack([d.pixels for d in rows], size) for value, rows in found.items()},
            overlap={value: _stack([d.overlap for d in rows], size) for value, rows in found.items()},
            maxima=np.array([c.maximum for c in self._counts], dtype=np.float64),
        )


def _stack(rows: list[csr_array], size: int) -> csr_array:
    return vstack(rows, format="csr") if rows else csr_array((0, size))
