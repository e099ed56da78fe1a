"""A version's own scale, on which 1 is the 99 % quantile of its select normals."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from pipelines.metrics.checks import MetricError
from pipelines.records import Record

_Floats = TypeVar("_Floats", bound=np.floating[Any])


class ScoreScale(Record):
    """A strictly increasing map from raw scores >= 0 to scores >= 0."""

    divisor: float = Field(gt=0, allow_inf_nan=False)

    def apply(self, raw: NDArray[_Floats]) -> NDArray[_Floats]:
        """Scale raw scores or maps of any shape; the type stays.

        >>> ScoreScale(divisor=2.0).apply(np.array([0, 1, 5], dtype=np.float32))
        array([0. , 0.5, 2.5], dtype=float32)
        """
        return np.asarray(raw / raw.dtype.type(self.divisor))


def fit_scale(raw: ArrayLike, quantile: float = 0.99) -> ScoreScale:
    """Fit the scale to raw scores of select normals: images' or sound pixels', of any shape.

    Where the quantile is 0 and some score is not, the lowest positive score stands for it.

    Raises:
        MetricError: for scores that are absent, not finite, negative or all 0: no scale can compare such a version.
    """
    found = np.asarray(raw, dtype=np.float64).ravel()
    if not found.size or not np.isfinite(found).all() or found.min() < 0 or not found.max() > 0:
        what = "none" if not found.size else f"{found.size} from {found.min()} to {found.max()}"
        raise MetricError(
            f"expected finite scores >= 0 of normal images, some of them above 0; found {what}",
            cure="check the training and the select part: the model does not tell these images apart",
        )
    divisor = float(np.quantile(found, quantile))
    return ScoreScale(divisor=divisor if divisor > 0 else float(found[found > 0].min()))
