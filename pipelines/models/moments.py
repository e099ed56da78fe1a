"""Mean and covariance of features in one pass and constant memory: mergeable sufficient statistics in float64."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipelines.core.errors import ModelError


class Moments:
    """Count, mean and scatter of features at each position of a grid; no feature is kept.

    Batches and other moments are merged by the pairwise update of Chan, Golub and LeVeque (1983, equation 2.1), in
    place, because the scatter is the largest tensor of a run.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.images: float = 0
        self.height, self.width = height, width
        self.mean = torch.zeros(height * width, channels, dtype=torch.float64)
        self.scatter = torch.zeros(height * width, channels, channels, dtype=torch.float64)

    @property
    def channels(self) -> int:
        return int(self.mean.shape[1])

    @property
    def positions(self) -> int:
        return int(self.mean.shape[0])

    def update(self, embedding: torch.Tensor) -> None:
        """Take in embeddings (n, c, h, w) of any floating type."""
        points = embedding.detach().flatten(2).permute(2, 0, 1).to("cpu", torch.float64)
        mean = points.mean(1)
        self._shift_to(mean, points.shape[1])
        deviations = points - mean[:, None]
        self.scatter.baddbmm_(deviations.mT, deviations)

    def merge(self, other: "Moments") -> None:
        """Take in moments of other images of the same grid; raise ModelError for another grid."""
        here, there = ((m.channels, m.height, m.width) for m in (self, other))
        if here != there:
            raise ModelError(
                f"moments of {there} channels, rows and columns do not fit to those of {here}",
                hint="merge statistics of one backbone, one choice of channels and one tile plan",
            )
        if other.images:
            self._shift_to(other.mean, other.images)
            self.scatter.add_(other.scatter)

    def _shift_to(self, mean: torch.Tensor, images: float) -> None:
        """Move count and mean, and give the scatter what lies between the two means."""
        total = self.images + images
        delta = mean - self.mean
        self.scatter.baddbmm_(delta[:, :, None] * (self.images * images / total), delta[:, None, :])
        self.mean.add_(delta, alpha=images / total)
        self.images = total

    def pooled(self) -> "Moments":
        """Return the moments of all positions taken as one."""
        found = Moments(self.channels, 1, 1)
        centre = self.mean.mean(0)
        between = self.mean - centre
        found.images = self.images * self.positions
        found.mean = centre[None]
        found.scatter = (self.scatter.sum(0) + self.images * between.T @ between)[None]
        return found

    def counted_as(self, images: float) -> "Moments":
        """Return the same mean and covariance as if they were of another number of images; tensors may be shared."""
        found = self._like(self.height, self.width)
        found.images, found.mean = images, self.mean
        found.scatter = self.scatter * (images / self.images)
        return found

    def centred_on(self, mean: torch.Tensor) -> "Moments":
        """Return the same covariance around other means (positions, c) or (1, c)."""
        found = self._like(self.height, self.width)
        found.images, found.mean, found.scatter = self.images, mean.expand_as(self.mean), self.scatter
        return found

    def on_grid(self, height: int, width: int) -> "Moments":
        """Return these moments for another grid.

        Positions of another grid say nothing of its own: all of them get the moments of all.

        Args:
            height: Rows of the wanted grid.
            width: Columns of the wanted grid.

        Returns:
            These very moments if the grid is the same; else ones whose positions share memory, to be copied before they
            take in more.

        >>> moments = Moments(channels=1, height=1, width=2)
        >>> moments.update(torch.tensor([[[[0.0, 4.0]]]]))
        >>> moments.on_grid(1, 3).mean.flatten().tolist()
        [2.0, 2.0, 2.0]
        """
        if (self.height, self.width) == (height, width):
            return self
        pooled = self.pooled().counted_as(self.images)
        found = self._like(height, width)
        positions = height * width
        found.images = self.images
        found.mean, found.scatter = (t.expand(positions, *t.shape[1:]) for t in (pooled.mean, pooled.scatter))
        return found

    def copy(self) -> "Moments":
        """Return moments that can take in more without changing these."""
        found = self._like(self.height, self.width)
        found.images, found.mean, found.scatter = self.images, self.mean.clone(), self.scatter.clone()
        return found

    def _like(self, height: int, width: int) -> "Moments":
        """Return empty moments of these channels for a grid, whose tensors are to be set."""
        found = Moments(self.channels, 0, 0)
        found.height, found.width = height, width
        return found

    def tensors(self, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
        """Return all that is known, of each symmetric scatter one triangle, in `dtype`."""
        rows, columns = torch.triu_indices(self.channels, self.channels)
        return {
            "mean": self.mean.to(dtype),
            "scatter": self.scatter[:, rows, columns].to(dtype).contiguous(),
            "counts": torch.tensor([self.images, self.height, self.width], dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> "Moments":
        """Take what `tensors` gave; raise ModelError for anything else."""
        try:
            images, height, width = (float(count) for count in tensors["counts"])
            found = cls(tensors["mean"].shape[1], int(height), int(width))
            found.images = images
            found.mean.copy_(tensors["mean"])
            rows, columns = torch.triu_indices(found.channels, found.channels)
            found.scatter[:, rows, columns] = found.scatter[:, columns, rows] = tensors["scatter"].double()
        except (KeyError, ValueError, RuntimeError, IndexError) as error:
            raise ModelError(f"these tensors hold no moments: {error}", hint="restore the file, or retrain") from error
        return found

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        save_file(self.tensors(), str(path))

    @classmethod
    def load(cls, path: Path) -> "Moments":
        """Read what `save` wrote; raise ModelError for anything else."""
        try:
            return cls.from_tensors(load_file(str(path)))
        except (SafetensorError, OSError, ModelError) as error:
            raise ModelError(f"{path} holds no moments: {error}", hint="restore the file, or retrain") from error


class ChannelMoments:
    """Count, sums and sums of squares of channels alone, in float64: their mean and variance without covariance."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sums, self.squares = (torch.zeros(channels, dtype=torch.float64) for _ in range(2))

    def update(self, features: torch.Tensor) -> None:
        """Take in features (c, h, w)."""
        points = features.flatten(1).double()
        self.count += points.shape[1]
        self.sums += points.sum(1)
        self.squares += points.square().sum(1)

    def estimate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance (c,), float64."""
        mean = self.sums / self.count
        return mean, (self.squares / self.count - mean.square()).clamp(min=0)
