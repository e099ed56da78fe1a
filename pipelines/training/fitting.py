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


def fit(algorithm: str, tiles: TileSet, validation: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to tiles, and colour beside it; `validation` holds other normal tiles that say when to stop."""
    fitted = find_algorithm(algorithm).fit(tiles, validation, settings.of(algorithm), settings.seed)
    return add_colour(fitted, tiles, validation, settings.colour)


def fit_unlabelled(algorithm: str, tiles: TileSet, validation: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to tiles of which some show defects: in its own way, or without the most unusual ones.

    Colour is seen where images are shown whole: in a grid, domains have no common one, and what is left
    may be all stain.
    """
    chosen, own, seed = find_algorithm(algorithm), settings.of(algorithm), settings.seed
    fitted = chosen.fit_unlabelled(tiles, validation, own, settings.unlabelled, seed)
    if fitted is not None:
        return fitted
    normal, held = (
        found.subset(chosen.keep_normal(found, own, settings.unlabelled, seed)) for found in (tiles, validation)
    )
    fitted = chosen.fit(normal, held, own, seed)
    if tiles.plan.mode == "fit":
        fitted = add_colour(fitted, normal, held, settings.colour)
    words = f"{len(tiles) - len(normal)} of {len(tiles)} tiles left out as the most unusual of their kind"
    return replace(fitted, notes={**fitted.notes, "unlabelled": words})


def adapt(
    algorithm: str,
    strategy: Strategy,
    tiles: TileSet,
    validation: TileSet,
    settings: RunSettings,
    state: Mapping[str, Any],
) -> Fitted:
    """Bring the state of a fitted version, as `Fitted.state` holds it, to tiles of another surface.

    Colour is that of these tiles, but for `reuse`, which sees it as the source does, where there is any.

    Raises:
        ModelError: where the algorithm knows no such strategy, or the state does not fit to the settings.
    """
    if strategy == Strategy.SCRATCH:
        return fit(algorithm, tiles, validation, settings)
    own = settings.of(algorithm)
    if isinstance(own, SteppedSettings) and strategy == Strategy.FINETUNE:
        own = own.model_copy(update={"learning_rate": own.learning_rate * settings.adapt.finetune_rate})
    fitted = find_algorithm(algorithm).transfer(strategy, tiles, validation, own, settings.seed, without_colour(state))
    if strategy == Strategy.REUSE:
        return restore_colour(fitted, tiles, state)
    return add_colour(fitted, tiles, validation, settings.colour)
