"""Judging the very images that a network knows by networks that each lack some of them.

Where there are only a few images, none can be spared to choose on and to calibrate on. Of a network that memorises,
such as a bank of tokens, it is cheap to have copies without each image: what an image comes to there is what a new one
would.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.geometry import TilePlan
from pipelines.core.paths import inside
from pipelines.core.records import Split, Strategy
from pipelines.core.results import Start, Trained
from pipelines.data.prepared import PreparedImage, without_anomalies
from pipelines.detector.cache import CrossFitted
from pipelines.detector.scan import Wrap
from pipelines.imaging.tiling import TileSet
from pipelines.models.registry import find_algorithm
from pipelines.training.run_settings import RunSettings

if TYPE_CHECKING:
    from pipelines.models.fitted import Fitted

State = Mapping[str, Any]  # tensors by name

FOLDS = "folds"  # beside the network, until it is registered
MOST_FOLDS = 8
_LEAST = 2  # a single image leaves nothing to be judged by


def fit_folds(  # noqa: PLR0913, PLR0917 - part of a stage, which is handed all that it depends on
    algorithm: str,
    fitted: "Fitted",
    prepared: Path,
    images: Sequence[PreparedImage],
    tiles: TileSet,
    settings: RunSettings,
    folder: Path,
    start: Start | None = None,
) -> dict[str, int]:
    """Fit once for each fold of the training split, where nothing else is there to calibrate on.

    At most 8 folds: each image is judged by what at least 7 of 8 images give, or all but itself.

    Args:
        algorithm: Name of a known algorithm; one that does not memorise needs none.
        fitted: The fit to all of them, whose colour is each fold's as well.
        prepared: The surface's prepared folder.
        images: Of all splits.
        tiles: Those of the training split.
        settings: The resolved settings of the run.
        folder: Model folder; its subfolder `folds` gets a state a fold.
        start: What `fitted` was gone on from, None where that is nothing. Folds that lie there are taken, for what was
            fitted is made again.

    Returns:
        The fold of each image by its path; empty where there are none.
    """
    from pipelines.models.fitted import Fitted
    from pipelines.models.openvino.export import load_state, save_state

    trained_on = without_anomalies(images, Split.TRAIN)
    held = [i for split in (Split.VALIDATION, Split.CALIBRATION) for i in without_anomalies(images, split)]
    if held or len(trained_on) < _LEAST or not find_algorithm(algorithm).memorises:
        return {}
    folds = {image.path: number % min(MOST_FOLDS, len(trained_on)) for number, image in enumerate(trained_on)}
    if start is not None and (Path(start.folder) / FOLDS).is_dir():
        shutil.copytree(Path(start.folder) / FOLDS, folder / FOLDS)
        return folds
    of_files = {inside(prepared, image.file): folds[image.path] for image in trained_on}
    owners = [of_files[file] for file in tiles.files]
    strategy, state = (start.strategy, load_state(Path(start.folder))) if start else (Strategy.SCRATCH, {})
    found = fit_without(algorithm, fitted, strategy, tiles, owners, settings, state)
    for number, one in enumerate(found):
        place = folder / FOLDS / str(number)
        place.mkdir(parents=True)
        save_state(Fitted(fitted.model, one), place)
    return folds if found else {}


def fit_without(
    algorithm: str,
    fitted: "Fitted",
    strategy: Strategy,
    tiles: TileSet,
    folds: Sequence[int],
    settings: RunSettings,
    state: State,
) -> list[State]:
    """Fit to the tiles of all folds but one, for each of them.

    Args:
        algorithm: Name of a known algorithm that memorises.
        fitted: The fit to all tiles, whose colour is each fold's as well.
        strategy: How that was fitted.
        tiles: What it was fitted to.
        folds: The fold of each tile, from 0 on without a gap.
        settings: The resolved settings of the run.
        state: What was gone on from; empty for `scratch`.

    Returns:
        A state a fold, with colour; empty where the algorithm cannot tell.
    """
    from pipelines.models.colour import without_colour

    colour = {name: value for name, value in fitted.state.items() if name not in without_colour(fitted.state)}
    own = settings.of(algorithm)
    found = find_algorithm(algorithm).fit_folds(strategy, tiles, folds, own, without_colour(state))
    return [{**one, **colour} for one in found]


def make_without(algorithm: str, states: Sequence[State], plan: TilePlan, settings: RunSettings) -> list[Any]:
    """Make the networks of `fit_without`.

    Args:
        algorithm: As there.
        states: From there.
        plan: Of the tiles.
        settings: As there.

    Returns:
        A network a state, on the CPU and in eval mode; they may have parts in common.

    Raises:
        ModelError: If a state is none of the algorithm's.
    """
    from pipelines.models.colour import restore_colour, without_colour

    own = [without_colour(state) for state in states]
    fits = find_algorithm(algorithm).open_folds(own, settings.of(algorithm))
    none = TileSet([], plan)
    return [restore_colour(fit, none, state).model for fit, state in zip(fits, states, strict=True)]


def open_folds(trained: Trained, settings: RunSettings, wrap: Wrap | None = None) -> CrossFitted | None:
    """Open what `fit_folds` left beside a network; None where that is nothing.

    Args:
        trained: Whose folder is looked at.
        settings: The resolved settings of the run.
        wrap: Puts a network before each of them, such as one that knows tiles already. None: none.

    Returns:
        The networks, in torch and float32.

    Raises:
        ModelError: If what lies there cannot be read.
    """
    if not trained.folds:
        return None
    from pipelines.models.openvino.export import STATE, TorchTiles, load_state

    places = [Path(trained.folder) / FOLDS / str(number) for number in range(max(trained.folds.values()) + 1)]
    models = make_without(trained.algorithm, [load_state(place) for place in places], trained.plan, settings)
    own = f"{trained.algorithm} {settings.of(trained.algorithm).model_dump_json()}".encode()
    identities = [hashlib.sha256(own + (place / STATE).read_bytes()).hexdigest()[:32] for place in places]
    networks = [TorchTiles(model, identity) for model, identity in zip(models, identities, strict=True)]
    return CrossFitted([wrap(network) if wrap else network for network in networks], trained.folds)


def forget_folds(folder: Path) -> None:
    """Remove what `fit_folds` left in a model folder: nothing needs it once thresholds are set."""
    shutil.rmtree(folder / FOLDS, ignore_errors=True)
