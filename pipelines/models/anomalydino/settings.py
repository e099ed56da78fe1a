"""AnomalyDINO's settings."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.models.search import Choice, Real, Search, Whole
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


SEARCH: Search = {
    "layers": Choice(values=([5, 8], [8], [8, 11], [2, 5, 8])),
    "bank": Whole(low=1000, high=20_000, log=True),
    "neighbours": Whole(low=1, high=9),
    "scales": Choice(values=([1.0], [0.5, 1.0])),
    "score.top_share": Real(low=0.0005, high=0.05, log=True),
}
