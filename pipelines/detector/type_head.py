"""What a region is, from its features: a linear head as it is stored with a version. No library that trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.special import softmax

from pipelines.core.errors import ModelError, ScoreError
from pipelines.core.records import NORMAL, UNKNOWN, Record

FILE = "head.safetensors"
_TENSORS = ("mean", "scale", "weights", "bias", "examples")

Floats = NDArray[np.float32]


class Named(NamedTuple):
    """A type and its probability; None for `unknown`. A `dropped` region is no defect."""

    type: str
    confidence: float | None
    dropped: bool = False


class Limits(Record):
    """The head's few numbers: what its logits are divided by, and where its word ends.

    `max_distance` is the distance to the nearest example beyond which a region is `unknown`; a region named `normal` is
    dropped from the verdict where its probability is above `drop_above`.
    """

    former: ClassVar[Mapping[str, str]] = {"reach": "max_distance"}

    types: tuple[str, ...]
    temperature: float
    max_distance: float
    drop_above: float

    @field_validator("types", mode="before")
    @classmethod
    def _was_sound(cls, types: Sequence[str]) -> list[str]:
        """Read heads that were fitted when the examples without a defect were called `sound`."""
        return [NORMAL if name == "sound" else name for name in types]


@dataclass(frozen=True)
class TypeHead:
    """A linear head over features (n, views, d), the views of a crop being its flips.

    Features are standardised by `mean` and `scale` (d,); `weights` (types, d) and `bias` give logits, averaged
    over views. `examples` (k, d) are those it was fitted to: standardised, averaged, of unit length.
    """

    limits: Limits
    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats
    examples: Floats

    def name(self, features: Floats) -> list[Named]:
        """Name regions by their features (n, views, d); raise ScoreError where they are not finite."""
        scaled = self.standardise(features)
        chances = softmax(self.logits(scaled) / self.limits.temperature, axis=1)
        if not np.isfinite(chances).all():
            raise ScoreError("what names types gives a chance that is not finite", hint="restore its files, or retrain")
        far = nearest(scaled.mean(axis=1), self.examples) > self.limits.max_distance
        return [self._name(row, bool(away)) for row, away in zip(chances, far, strict=True)]

    def _name(self, chances: Floats, far: bool) -> Named:
        if far:
            return Named(UNKNOWN, None)
        best = int(chances.argmax())
        name, confidence = self.limits.types[best], float(chances[best])
        return Named(name, confidence, name == NORMAL and confidence > self.limits.drop_above)

    def standardise(self, features: Floats) -> Floats:
        return np.asarray((features - self.mean) / self.scale, np.float32)

    def logits(self, scaled: Floats) -> Floats:
        """Return logits (n, types) of standardised features (n, views, d)."""
        return np.asarray(scaled.mean(axis=1) @ self.weights.T + self.bias, np.float32)

    def save(self, path: Path) -> None:
        """Write one safetensors file; it holds numbers and names only."""
        tensors = {name: np.ascontiguousarray(getattr(self, name), np.float32) for name in _TENSORS}
        tensors["examples"] = tensors["examples"].astype(np.float16)
        save_file(tensors, path, metadata={"limits": self.limits.model_dump_json()})


def load_head(path: Path) -> TypeHead:
    """Read what `save` wrote; raise ModelError for anything else."""
    try:
        with safe_open(path, framework="np") as file:
            limits = Limits.model_validate_json((file.metadata() or {})["limits"])
            head = TypeHead(limits, **{name: file.get_tensor(name).astype(np.float32) for name in _TENSORS})
            _check_shapes(head)
            return head
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path} holds no head for types: {error}", hint="restore the file, or retrain") from error


def _check_shapes(head: TypeHead) -> None:
    """Raise ValueError where limits or tensors are not finite, or do not fit each other."""
    limits = head.limits
    if not (0 < limits.temperature < np.inf and limits.max_distance >= 0 and limits.drop_above >= 0):
        raise ValueError(f"its limits are no numbers that a head can have: {limits}")
    types, width = len(head.limits.types), head.mean.shape[-1] if head.mean.ndim else 0
    wanted = {"mean": (width,), "scale": (width,), "weights": (types, width), "bias": (types,)}
    for name in _TENSORS:
        found = getattr(head, name)
        fits = (
            found.shape == wanted[name]
            if name in wanted
            else found.ndim == 2 and found.shape[1] == width and len(found)
        )
        if not fits or not np.isfinite(found).all():
            raise ValueError(f"{name} of shape {found.shape} does not fit {types} types of {width} features")


def nearest(scaled: Floats, examples: Floats) -> Floats:
    """Return each row's distance to the nearest example, after both are brought to unit length.

    Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors".

    Args:
        scaled: Standardised features (n, d), averaged over views, of any length.
        examples: Features (k, d) treated alike; at least one.

    Returns:
        Distances, float32, shape (n,), 0 to 2.

    >>> nearest(np.float32([[2, 0]]), np.float32([[0, 1], [1, 0]])).tolist()
    [0.0]
    """
    likeness = unit(scaled) @ unit(examples).T
    return np.asarray(np.sqrt(np.clip(2 - 2 * likeness.max(axis=1), 0, None)), np.float32)


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def order_types(types: Sequence[str]) -> tuple[str, ...]:
    """Sort the names that occur, `normal` last."""
    return tuple(sorted(set(types), key=lambda name: (name == NORMAL, name)))
