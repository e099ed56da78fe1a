"""PaDiM's settings."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from pipelines.models.settings import AlgorithmSettings, Layer


class PadimSettings(AlgorithmSettings):
    """Which features are used, and how their Gaussians are estimated; see params.yaml."""

    former_values: ClassVar[Mapping[str, Mapping[str, str]]] = {"gaussian": {"steady": "pooled"}}

    backbone: str = "lite0"
    layers: tuple[Layer, ...] = Field(default=(1, 2, 3), min_length=1)
    features: int = Field(default=100, ge=1, le=100_000)
    gaussian: Literal["auto", "pooled", "per-position", "shared"] = "auto"
    stride: Literal[4, 8, 16, 32] = 8
    prior_images: float = Field(default=15.0, ge=0, le=1e6)
    ridge: float = Field(default=0.3, gt=0, le=1e6)
