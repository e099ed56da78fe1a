"""What an algorithm brings, whether it is built in or comes with another package; docs/extending.md has an example."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Record, Strategy
from pipelines.imaging.tile_plan import USUAL_INPUT_SIZE, InputSize
from pipelines.models.settings import AlgorithmSettings, UnlabelledSettings

if TYPE_CHECKING:
    import torch

    from pipelines.imaging.tiling import TileSet
    from pipelines.models.fitted import Fitted


class Cost(Record):
    """Megabytes: `memory_mb` what a fit adds at most to the process, `version_mb` what is stored; `what` in words."""

    what: str
    memory_mb: float
    version_mb: float


class Algorithm(Protocol):
    """An algorithm as training, transfer, settings and the model card use it. Nothing else knows its name."""

    @property
    def name(self) -> str:
        """Its section in the settings and its tag in the registry: a-z, 0-9 and `_`, beginning with a letter."""

    @property
    def about(self) -> str:
        """One sentence for the model card, with the paper."""

    @property
    def settings(self) -> AlgorithmSettings:
        """The defaults of its section; their class is the section's model."""

    @property
    def preference(self) -> int:
        """Where figures do not decide between algorithms, the lowest is proposed."""

    @property
    def input_size(self) -> InputSize:
        """How large a tile its network is given."""

    @property
    def unlabelled_tile(self) -> int:
        """How many times wider a grid's tiles are where images have no labels."""

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """How it can be adapted to another surface."""

    def fit(self, tiles: "TileSet", validation: "TileSet", settings: Any, seed: int) -> "Fitted":
        """Fit to normal tiles; `validation` holds other normal ones that say when to stop."""

    def fit_unlabelled(
        self, tiles: "TileSet", validation: "TileSet", settings: Any, unlabelled: UnlabelledSettings, seed: int
    ) -> "Fitted | None":
        """Fit to tiles of which some show defects; None: by leaving out the most unusual ones, then `fit`."""

    def keep_normal(self, tiles: "TileSet", settings: Any, unlabelled: UnlabelledSettings, seed: int) -> list[int]:
        """List the tiles that are left when the most unusual ones are taken away."""

    def transfer(
        self,
        strategy: Strategy,
        tiles: "TileSet",
        validation: "TileSet",
        settings: Any,
        seed: int,
        state: Mapping[str, "torch.Tensor"],
    ) -> "Fitted":
        """Bring the state of a version, as `Fitted.state` holds it, to tiles of another surface."""

    def structure(self, params: Mapping[str, str]) -> tuple[str, ...]:
        """Return KEY=VALUE words of the settings that a state's tensors are tied to, from a run's parameters."""

    def estimate_cost(self, plan: TilePlan, settings: Any) -> Cost | None:
        """Say what a fit will take, before it starts; None where that is modest."""

    def export(self, model: Any, plan: TilePlan, folder: Path) -> None:
        """Write model.xml and model.bin: tiles uint8 (n, h, w, 3) to maps float32 (n, h, w)."""


class BaseAlgorithm:
    """What most algorithms have in common: one that is derived from it brings name, about, settings and `fit`."""

    name: str
    about: str
    settings: AlgorithmSettings
    preference: int = 100
    input_size: InputSize = USUAL_INPUT_SIZE
    unlabelled_tile: int = 1
    strategies: tuple[Strategy, ...] = (Strategy.SCRATCH,)
    # Settings that a state's tensors are tied to, below the algorithm's own section.
    structural: Sequence[str] = ()

    def fit_unlabelled(
        self, tiles: "TileSet", validation: "TileSet", settings: Any, unlabelled: UnlabelledSettings, seed: int
    ) -> "Fitted | None":
        """Leave the most unusual tiles out, then `fit`."""
        return None

    def keep_normal(self, tiles: "TileSet", settings: Any, unlabelled: UnlabelledSettings, seed: int) -> list[int]:
        """List the tiles that are left when those with the most unusual features are taken away."""
        from pipelines.models.outliers import keep_normal

        return keep_normal(tiles, unlabelled, seed)

    def transfer(
        self,
        strategy: Strategy,
        tiles: "TileSet",
        validation: "TileSet",
        settings: Any,
        seed: int,
        state: Mapping[str, "torch.Tensor"],
    ) -> "Fitted":
        """Adapt by one of `transfers`.

        Raises:
            ModelError: for another strategy; training from scratch is no transfer.
        """
        known = self.transfers()
        if strategy not in known:
            raise ModelError(
                f"{self.name} cannot be brought to another surface by '{strategy}'",
                hint="choose another --strategy, or auto",
            )
        return known[strategy](tiles, validation, settings, seed, state)

    def transfers(self) -> "Mapping[Strategy, Callable[..., Fitted]]":
        """Map strategies to functions of (tiles, validation, settings, seed, state)."""
        return {}

    def structure(self, params: Mapping[str, str]) -> tuple[str, ...]:
        """Return KEY=VALUE words of what `structural` names."""
        names = [f"{self.name}.{key}" for key in self.structural]
        return tuple(f"{name}={params[name]}" for name in names if name in params)

    def estimate_cost(self, plan: TilePlan, settings: Any) -> Cost | None:
        """Say nothing: the fit is modest."""
        return None

    def export(self, model: Any, plan: TilePlan, folder: Path) -> None:
        """Convert the torch model to OpenVINO's IR for tiles of the plan's size, in batches of any."""
        from pipelines.models.openvino.export import export_openvino

        export_openvino(model, plan.tile_height, plan.tile_width, folder)
