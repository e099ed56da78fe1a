"""What an algorithm brings, whether it is built in or comes with another package; docs/extending.md has an example."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Precision, Record, Strategy
from pipelines.imaging.tile_plan import USUAL_INPUT_SIZE, InputSize
from pipelines.models.search import Search
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
    def search(self) -> Search:
        """What `knotwatch tune` chooses from, by dotted key inside the section; empty where nothing is worth it.

        Where training takes steps, none that changes what its validation loss means: trials are compared by it.
        """

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
    def memorises(self) -> bool:
        """Whether it knows each training image again, so that scores of those say nothing of new ones.

        Then `fit_folds` and `open_folds` say what each would have come to without itself.
        """

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What an export is worth trying in where `export.precision` is `auto`."""

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """How it can be adapted to another surface."""

    @property
    def by_rule(self) -> Strategy:
        """Which of these is taken of images so few that none is held out to choose on."""

    def fit(self, tiles: "TileSet", validation: "TileSet", settings: Any, seed: int) -> "Fitted":
        """Fit to normal tiles.

        Args:
            tiles: Normal tiles to train on, RGB uint8 (tile_height, tile_width, 3) each; at least one.
            validation: Normal tiles of other images, which say when to stop where training takes steps; may be empty.
            settings: The algorithm's own section as this run has it, of the class of `settings`.
            seed: For all that is drawn: the same seed and tiles give the same model.

        Returns:
            The network on the CPU in eval mode, for tiles of `tiles.plan`, and what later fits may start from.

        Raises:
            ModelError: If there is no tile, the settings do not fit the network, or training gives no finite value.
        """

    def fit_unlabelled(
        self, tiles: "TileSet", validation: "TileSet", settings: Any, unlabelled: UnlabelledSettings, seed: int
    ) -> "Fitted | None":
        """Fit to tiles of which some show defects.

        Args:
            tiles: Tiles that nobody labelled, RGB uint8 (tile_height, tile_width, 3) each.
            validation: Tiles of other images, not labelled either; may be empty.
            settings: The algorithm's own section, as in `fit`.
            unlabelled: The largest share of anomalous tiles, 0 to 0.5, and how clusters of surfaces are told apart.
            seed: For all that is drawn.

        Returns:
            As `fit` returns; None for the usual way: the most unusual tiles are left out (`keep_normal`), then `fit`.

        Raises:
            ModelError: If there is no tile, or the settings do not fit the network.
        """

    def keep_normal(self, tiles: "TileSet", settings: Any, unlabelled: UnlabelledSettings, seed: int) -> list[int]:
        """List the tiles that are left when the most unusual ones are taken away.

        Args:
            tiles: Tiles that nobody labelled, of the training or the validation split; may be empty.
            settings: The algorithm's own section, as in `fit`.
            unlabelled: `contamination` is the share that is left out, 0 to 0.5.
            seed: For all that is drawn.

        Returns:
            Numbers of the kept tiles, ascending, as `tiles.subset` takes them.
        """

    def transfer(
        self,
        strategy: Strategy,
        tiles: "TileSet",
        validation: "TileSet",
        settings: Any,
        seed: int,
        state: Mapping[str, "torch.Tensor"],
    ) -> "Fitted":
        """Bring the state of a version to tiles of another surface.

        Args:
            strategy: One of `strategies` that starts from a version; `scratch` is no transfer.
            tiles: Normal tiles of the target, RGB uint8 (tile_height, tile_width, 3); `reuse` needs only their plan.
            validation: Normal tiles of other images of the target, as in `fit`; may be empty.
            settings: The algorithm's own section, whose structural settings are those of the source.
            seed: For all that is drawn.
            state: The source's tensors, as `Fitted.state` holds them, without those of colour; not changed.

        Returns:
            As `fit` returns; `likelihood_gains` is set where the algorithm can tell what the source was worth.

        Raises:
            ModelError: If the algorithm cannot be adapted so, or the state does not fit to the settings.
        """

    def fit_folds(
        self,
        strategy: Strategy,
        tiles: "TileSet",
        folds: Sequence[int],
        settings: Any,
        state: Mapping[str, "torch.Tensor"],
    ) -> "list[dict[str, torch.Tensor]]":
        """Fit once for each fold, to the tiles of all others; asked only of an algorithm that `memorises`.

        Args:
            strategy: As in `transfer`; `scratch` starts from nothing.
            tiles: The tiles of the fit, RGB uint8 (tile_height, tile_width, 3) each; at least one.
            folds: The fold of each tile, from 0 on without a gap.
            settings: The algorithm's own section, as in `fit`.
            state: As in `transfer`; empty for `scratch`.

        Returns:
            The state of each fold's fit, as `Fitted.state` holds it, for `open_folds`; empty where it cannot tell.
        """

    def open_folds(self, states: "Sequence[Mapping[str, torch.Tensor]]", settings: Any) -> "list[Fitted]":
        """Make the networks of `fit_folds`.

        Args:
            states: From `fit_folds`.
            settings: As they were there.

        Returns:
            One for each state, in eval mode; they may have parts in common.
        """

    def structure(self, params: Mapping[str, str]) -> tuple[str, ...]:
        """Return KEY=VALUE words of the settings that a state's tensors are tied to, from a run's parameters."""

    def estimate_cost(self, plan: TilePlan, settings: Any) -> Cost | None:
        """Say what a fit will take, before it starts.

        Args:
            plan: The tile plan that the fit will have; sides in pixels.
            settings: The algorithm's own section, as in `fit`.

        Returns:
            Peak memory and stored size in MB (10^6 bytes); None if both are modest whatever the settings.
        """

    def export(self, model: Any, plan: TilePlan, folder: Path) -> None:
        """Write model.xml and model.bin: tiles uint8 (n, h, w, 3) to maps float32 (n, h, w).

        Args:
            model: The torch network of `Fitted.model`, on the CPU.
            plan: Gives h and w in pixels; n is left open.
            folder: Where both files go, replacing those that are there; made if it is missing.

        Raises:
            ModelError: If the network cannot be converted for tiles of that size.
        """


class BaseAlgorithm:
    """What most algorithms have in common: one that is derived from it brings name, about, settings and `fit`."""

    name: str
    about: str
    settings: AlgorithmSettings
    search: Search = {}  # noqa: RUF012 - nothing is put into it
    preference: int = 100
    input_size: InputSize = USUAL_INPUT_SIZE
    unlabelled_tile: int = 1
    memorises: bool = False
    precisions: tuple[Precision, ...] = tuple(Precision)
    strategies: tuple[Strategy, ...] = (Strategy.SCRATCH,)
    by_rule: Strategy = Strategy.SCRATCH
    # Settings that a state's tensors are tied to, below the algorithm's own section.
    structural: Sequence[str] = ()

    def fit_unlabelled(
        self, tiles: "TileSet", validation: "TileSet", settings: Any, unlabelled: UnlabelledSettings, seed: int
    ) -> "Fitted | None":
        """Leave it to the usual way, `keep_normal` and then `fit`. See `Algorithm.fit_unlabelled`."""
        return None

    def keep_normal(self, tiles: "TileSet", settings: Any, unlabelled: UnlabelledSettings, seed: int) -> list[int]:
        """Leave out those whose features, by PaDiM's defaults, are the most unusual. See `Algorithm.keep_normal`."""
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
        """Adapt by the function that `transfers` has for the strategy. See `Algorithm.transfer`."""
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

    def fit_folds(
        self,
        strategy: Strategy,
        tiles: "TileSet",
        folds: Sequence[int],
        settings: Any,
        state: Mapping[str, "torch.Tensor"],
    ) -> "list[dict[str, torch.Tensor]]":
        """Say nothing: images are judged mirrored instead. See `Algorithm.fit_folds`."""
        return []

    def open_folds(self, states: "Sequence[Mapping[str, torch.Tensor]]", settings: Any) -> "list[Fitted]":
        """Make none. See `Algorithm.open_folds`."""
        return []

    def structure(self, params: Mapping[str, str]) -> tuple[str, ...]:
        """Return KEY=VALUE words of what `structural` names."""
        names = [f"{self.name}.{key}" for key in self.structural]
        return tuple(f"{name}={params[name]}" for name in names if name in params)

    def estimate_cost(self, plan: TilePlan, settings: Any) -> Cost | None:
        """Say nothing: the fit is modest. See `Algorithm.estimate_cost`."""
        return None

    def export(self, model: Any, plan: TilePlan, folder: Path) -> None:
        """Convert the torch model to OpenVINO's IR for tiles of the plan's size. See `Algorithm.export`."""
        from pipelines.models.openvino.export import export_openvino

        export_openvino(model, plan.tile_height, plan.tile_width, folder)
