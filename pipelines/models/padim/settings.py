"""PaDiM's settings."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from pipelines.models.search import Choice, Real, Search, Whole
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


# lite0 has 152 channels in layers 2 and 3.
SEARCH: Search = {
    "layers": Choice(values=([1, 2, 3], [2, 3])),
    "features": Whole(low=40, high=150),
    "gaussian": Choice(values=("auto", "pooled", "shared")),
    "stride": Choice(values=(8, 4, 16)),
    "prior_images": Real(low=2, high=100, log=True),
    "ridge": Real(low=0.01, high=3, log=True),
    "score.top_share": Real(low=0.0005, high=0.05, log=True),
}
