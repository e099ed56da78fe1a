"""The algorithms by name, and the ways to start from another surface; modules are imported where they are fitted."""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from pipelines.core.errors import ModelError
from pipelines.core.records import Algorithm, Strategy
from pipelines.imaging.tiling import TileSet
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.fitted import Fitted
from pipelines.models.padim.settings import PadimSettings
from pipelines.models.settings import SteppedSettings
from pipelines.training.run_settings import RunSettings


def fit_unlabelled(algorithm: Algorithm, tiles: TileSet, select: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to tiles of which some show defects; PaDiM leaves out cells of a grid, else whole tiles go.

    Colour is seen where photographs are shown whole: in a grid, kinds of surface have no common one, and what is left
    may be all stain.
    """
    if algorithm == Algorithm.PADIM and tiles.plan.mode == "grid":
        from pipelines.models.padim.unlabelled import fit_padim_kinds

        return fit_padim_kinds(tiles, settings.padim, settings.unlabelled, settings.seed)
    from pipelines.models.outliers import keep_sound

    sound, held = (
        found.subset(keep_sound(found, settings.padim, settings.unlabelled, settings.seed)) for found in (tiles, select)
    )
    fit_sound = fit if tiles.plan.mode == "fit" else _fit_learnt
    fitted = fit_sound(algorithm, sound, held, settings)
    words = f"{len(tiles) - len(sound)} of {len(tiles)} tiles left out as the most unusual of their kind"
    return replace(fitted, notes={**fitted.notes, "unlabelled": words})


def fit(algorithm: Algorithm, tiles: TileSet, select: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to tiles, and colour beside it; `select` holds other sound tiles that say when to stop."""
    from pipelines.models.colour import add_colour

    return add_colour(_fit_learnt(algorithm, tiles, select, settings), tiles, select, settings.colour)


def _fit_learnt(algorithm: Algorithm, tiles: TileSet, select: TileSet, settings: RunSettings) -> Fitted:
    own = settings.of(algorithm)
    if isinstance(own, PadimSettings):
        from pipelines.models.padim.model import fit_padim

        return fit_padim(tiles, own, settings.seed)
    if isinstance(own, FastflowSettings):
        from pipelines.models.fastflow.training import fit_fastflow

        return fit_fastflow(tiles, select, own, settings.seed)
    from pipelines.models.efficientad.model import fit_efficientad

    return fit_efficientad(tiles, select, own, settings.seed)


def adapt(
    algorithm: Algorithm,
    strategy: Strategy,
    tiles: TileSet,
    select: TileSet,
    settings: RunSettings,
    state: Mapping[str, Any],
) -> Fitted:
    """Bring the state of a fitted version, as `Fitted.state` holds it, to tiles of another surface.

    Colour is that of these tiles, but for `reuse`, which sees it as the source does, where there is any.

    Raises:
        ModelError: where the algorithm knows no such strategy, or the state does not fit to the settings.
    """
    if strategy == Strategy.SCRATCH:
        return fit(algorithm, tiles, select, settings)
    from pipelines.models.colour import add_colour, restore_colour, without_colour

    # The modules have the strategies as functions of the same names and arguments.
    module = import_module(f"pipelines.models.{algorithm.family}.transfer")
    run = getattr(module, strategy, None)
    if run is None:
        raise ModelError(
            f"{algorithm} cannot be brought to another surface by '{strategy}'",
            cure="choose another --strategy, or auto",
        )
    own = settings.of(algorithm)
    if isinstance(own, SteppedSettings) and strategy == Strategy.FINETUNE:
        own = own.model_copy(update={"learning_rate": own.learning_rate * settings.adapt.finetune_rate})
    fitted: Fitted = run(tiles, select, own, settings.seed, without_colour(state))
    if strategy == Strategy.REUSE:
        return restore_colour(fitted, tiles, state)
    return add_colour(fitted, tiles, select, settings.colour)
