"""AnomalyDINO's settings."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.models.settings import AlgorithmSettings, Layer, ScoreSettings

# A quarter of a tile is hardly a few tokens wide; four times its sides are sixteen times its tokens.
Scale = Annotated[float, Field(ge=0.25, le=4)]
BLOCK = 1024  # tokens compared at once, so that no matrix outgrows the bank


class AnomalydinoSettings(AlgorithmSettings):
    """Whose tokens are compared, at which scales, and how many are kept; see params.yaml."""

    backbone: str = "dinov2"
    layers: tuple[Layer, ...] = Field(default=(5, 8), min_length=1)
    bank: int = Field(default=5000, ge=1, le=100_000)
    neighbours: int = Field(default=1, ge=1, le=100)
    scales: tuple[Scale, ...] = Field(default=(1.0,), min_length=1, max_length=4)
    orientation: Literal["fixed", "free"] = "fixed"
    score: ScoreSettings = ScoreSettings(border_share=0.035)
