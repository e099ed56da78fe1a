"""EfficientAD as an algorithm among others."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipelines.core.records import Strategy
from pipelines.imaging.tile_plan import InputSize
from pipelines.models.algorithm import BaseAlgorithm
from pipelines.models.efficientad.settings import SEARCH, EfficientAdSettings

if TYPE_CHECKING:
    from pipelines.imaging.tiling import TileSet
    from pipelines.models.fitted import Fitted


class EfficientAd(BaseAlgorithm):
    """A student that fails to imitate its teacher."""

    name = "efficientad"
    about = (
        "EfficientAD (Batzner et al. 2024): a student that fails to imitate its teacher where a "
        "image is unusual, and an autoencoder for the larger picture"
    )
    settings = EfficientAdSettings()
    search = SEARCH
    preference = 2
    input_size = InputSize(least_side=256)  # its autoencoder has no room in less
    strategies = (Strategy.REUSE, Strategy.STATISTICS, Strategy.FINETUNE, Strategy.SCRATCH)
    structural = ("teacher",)

    def fit(self, tiles: "TileSet", validation: "TileSet", settings: EfficientAdSettings, seed: int) -> "Fitted":
        """Train student and autoencoder until other tiles are imitated no better. See `Algorithm.fit`."""
        from pipelines.models.efficientad.model import fit_efficientad

        return fit_efficientad(tiles, validation, settings, seed)

    def transfers(self) -> "Mapping[Strategy, Callable[..., Fitted]]":
        """Take the source's networks as they are, with the teacher whitened anew, or train them further."""
        from pipelines.models.efficientad import transfer

        return {
            Strategy.REUSE: transfer.reuse,
            Strategy.STATISTICS: transfer.statistics,
            Strategy.FINETUNE: transfer.finetune,
        }


EFFICIENTAD = EfficientAd()
