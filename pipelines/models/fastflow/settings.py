"""FastFlow's settings."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from pipelines.models.search import Choice, Real, Search, Whole
from pipelines.models.settings import MOST, FeatureSettings, Layer, SteppedSettings


class FastflowSettings(SteppedSettings):
    """`border` cells of the coarsest layer are left out on every side of a tile.

    Layers of an `auxiliary` backbone have flows of their own, and count like the others.
    """

    former: ClassVar[Mapping[str, str]] = {"beside": "auxiliary"}

    backbone: str = "lite0"
    layers: tuple[Layer, ...] = Field(default=(1, 2, 3), min_length=1)
    auxiliary: FeatureSettings | None = None
    flow_steps: int = Field(default=8, ge=1, le=256)
    hidden_ratio: float = Field(default=1.0, gt=0, le=64)
    conv3x3_only: bool = False
    border: int = Field(default=1, ge=0, le=1024)
    batch: int = Field(default=8, ge=1, le=4096)
    learning_rate: float = Field(default=3e-3, gt=0, le=10)
    max_steps: int = Field(default=200, ge=1, le=MOST)

    def in_words(self) -> str:
        """Say which features are used."""
        own = FeatureSettings(backbone=self.backbone, layers=self.layers).in_words()
        return f"{own} and {self.auxiliary.in_words()}" if self.auxiliary else own


# Its kept features take 2 MB a tile, which count as memory, and some hundred steps see no more tiles.
WITH_DINOV2 = FastflowSettings(auxiliary=FeatureSettings(backbone="dinov2", layers=(5, 8)), max_train_tiles=300)

# Not `layers`: the validation loss, by which trials are stopped early, would mean something else in each.
SEARCH: Search = {
    "learning_rate": Real(low=3e-4, high=1e-2, log=True),
    "flow_steps": Whole(low=4, high=12),
    "hidden_ratio": Real(low=0.25, high=1.5),
    "conv3x3_only": Choice(values=(False, True)),
    "batch": Choice(values=(4, 8, 16)),
    "score.top_share": Real(low=0.0005, high=0.05, log=True),
}
