"""FastFlow as an algorithm among others: on a convolutional network's features, and on a transformer's as well."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipelines.core.records import Strategy
from pipelines.imaging.tile_plan import TRANSFORMER_INPUT_SIZE, USUAL_INPUT_SIZE, InputSize
from pipelines.models.algorithm import BaseAlgorithm
from pipelines.models.fastflow.settings import SEARCH, WITH_DINOV2, FastflowSettings

if TYPE_CHECKING:
    from pipelines.imaging.tiling import TileSet
    from pipelines.models.fitted import Fitted

_AUXILIARY = "auxiliary.backbone"


class Fastflow(BaseAlgorithm):
    """A normalising flow over frozen features."""

    search = SEARCH
    strategies = (Strategy.REUSE, Strategy.STATISTICS, Strategy.FINETUNE, Strategy.SCRATCH)
    structural = (
        *("backbone", "layers", _AUXILIARY, "auxiliary.layers"),
        *("flow_steps", "hidden_ratio", "conv3x3_only", "border"),
    )

    def __init__(
        self,
        name: str,
        about: str,
        settings: FastflowSettings,
        preference: int,
        input_size: InputSize = USUAL_INPUT_SIZE,
    ) -> None:
        self.name, self.about, self.settings = name, about, settings
        self.preference, self.input_size = preference, input_size

    def fit(self, tiles: "TileSet", validation: "TileSet", settings: FastflowSettings, seed: int) -> "Fitted":
        """Train the flow until other tiles get no higher log-likelihood. See `Algorithm.fit`."""
        from pipelines.models.fastflow.training import fit_fastflow

        return fit_fastflow(tiles, validation, settings, seed)

    def transfers(self) -> "Mapping[Strategy, Callable[..., Fitted]]":
        """Take the source's flow as it is, on other channel statistics, or train it further."""
        from pipelines.models.fastflow import transfer

        return {
            Strategy.REUSE: transfer.reuse,
            Strategy.STATISTICS: transfer.statistics,
            Strategy.FINETUNE: transfer.finetune,
        }

    def structure(self, params: Mapping[str, str]) -> tuple[str, ...]:
        """Return what the source's network was made of.

        A source that saw no auxiliary network says so: the target's settings may name one.
        """
        # Sources trained before the field's words have the parameters `beside`.
        params = {name.replace(".beside.", ".auxiliary."): value for name, value in params.items()}
        alone = f"{self.name}.{_AUXILIARY}" not in params
        return (*((f"{self.name}.auxiliary=null",) if alone else ()), *super().structure(params))


FASTFLOW = Fastflow(
    "fastflow",
    "FastFlow (Yu et al. 2021): a normalising flow over ImageNet features, and their likelihood",
    FastflowSettings(),
    preference=3,
)
# What takes the longest to look at an image is proposed last.
FASTFLOW_DINOV2 = Fastflow(
    "fastflow_dinov2",
    "FastFlow (Yu et al. 2021): a normalising flow over ImageNet features and over those of DINOv2 "
    "(Oquab et al. 2024), and their likelihood",
    WITH_DINOV2,
    preference=5,
    input_size=TRANSFORMER_INPUT_SIZE,
)
