"""Fitting any algorithm: from normal tiles, from tiles without labels, or from what another surface taught."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.core.records import Strategy
from pipelines.imaging.tiling import TileSet
from pipelines.models.colour import add_colour, restore_colour, without_colour
from pipelines.models.fitted import Fitted
from pipelines.models.registry import find_algorithm
from pipelines.models.settings import SteppedSettings
from pipelines.training.run_settings import RunSettings


def fit(algorithm: str, tiles: TileSet, select: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to tiles, and colour beside it; `select` holds other sound tiles that say when to stop."""
    fitted = find_algorithm(algorithm).fit(tiles, select, settings.of(algorithm), settings.seed)
    return add_colour(fitted, tiles, select, settings.colour)


def fit_unlabelled(algorithm: str, tiles: TileSet, select: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to tiles of which some show defects: in its own way, or without the most unusual ones.

    Colour is seen where photographs are shown whole: in a grid, kinds of surface have no common one, and what is left
    may be all stain.
    """
    chosen, own, seed = find_algorithm(algorithm), settings.of(algorithm), settings.seed
    fitted = chosen.fit_unlabelled(tiles, select, own, settings.unlabelled, seed)
    if fitted is not None:
        return fitted
    sound, held = (found.subset(chosen.keep_normal(found, own, settings.unlabelled, seed)) for found in (tiles, select))
    fitted = chosen.fit(sound, held, own, seed)
    if tiles.plan.mode == "fit":
        fitted = add_colour(fitted, sound, held, settings.colour)
    words = f"{len(tiles) - len(sound)} of {len(tiles)} tiles left out as the most unusual of their kind"
    return replace(fitted, notes={**fitted.notes, "unlabelled": words})


def adapt(
    algorithm: str,
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
    own = settings.of(algorithm)
    if isinstance(own, SteppedSettings) and strategy == Strategy.FINETUNE:
        own = own.model_copy(update={"learning_rate": own.learning_rate * settings.adapt.finetune_rate})
    fitted = find_algorithm(algorithm).transfer(strategy, tiles, select, own, settings.seed, without_colour(state))
    if strategy == Strategy.REUSE:
        return restore_colour(fitted, tiles, state)
    return add_colour(fitted, tiles, select, settings.colour)
