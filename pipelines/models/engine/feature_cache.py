"""Outputs of a frozen network, computed once and read at every step: in a file, so that memory does not grow."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from pipelines.core.progress import track

_Shapes = Sequence[tuple[int, ...]]


class FeatureCache:
    """Float16 rows of several tensors each, in one memory-mapped file that is gone on leaving the context.

    Float16 keeps 11 bits: more than training in bf16 sees of them.
    """

    def __init__(self, rows: int, shapes: _Shapes, folder: Path | None = None) -> None:
        self._shapes = [tuple(shape) for shape in shapes]
        self._ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes]).tolist()
        # Without a name of its own, so that a killed run leaves nothing behind.
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in __exit__
        self._rows = np.memmap(self._file, np.float16, "w+", shape=(rows, self._ends[-1]))

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give memory and file back."""
        del self._rows
        self._file.close()

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    def put(self, row: int, outputs: Sequence[torch.Tensor]) -> None:
        """Keep the tensors of one row, in the place of those that it has.

        Args:
            row: 0 to len(self) - 1.
            outputs: On the CPU, in the order and of the shapes that the cache was made for. What float16 cannot hold is
                clipped to +-65504.
        """
        flat = torch.cat([output.detach().float().flatten() for output in outputs])
        self._rows[row] = flat.clamp(-65504, 65504).numpy()

    def get(self, rows: Sequence[int]) -> list[torch.Tensor]:
        """Return the tensors of some rows, float32 (len(rows), *shape) each."""
        taken = torch.from_numpy(np.asarray(self._rows[list(rows)], np.float32))
        starts = [0, *self._ends[:-1]]
        return [
            taken[:, start:end].reshape(len(rows), *shape)
            for start, end, shape in zip(starts, self._ends, self._shapes, strict=True)
        ]


def cache_outputs(
    count: int, compute: Callable[[int], Sequence[torch.Tensor]], label: str, folder: Path | None = None
) -> FeatureCache:
    """Compute rows of tensors and keep them.

    Args:
        count: How many rows; at least 1.
        compute: Returns the tensors of a row by its number: on the CPU, without a batch axis, shaped alike for all
            rows.
        label: What the progress bar says.
        folder: Where the file lies while it is used; None for the system's folder for temporary files.

    Returns:
        The open cache, to be used as a context or closed. It is closed where `compute` fails.
    """
    first = compute(0)
    kept = FeatureCache(count, [tuple(output.shape) for output in first], folder)
    try:
        kept.put(0, first)
        for row in track(range(1, count), count - 1, label):
            kept.put(row, compute(row))
    except BaseException:
        kept.close()
        raise
    return kept
