"""Networks as versions carry them, colour and all, for the side of the bench that is ours."""

from typing import Any

from pipelines.imaging.tiling import TileSet
from pipelines.training.run_settings import RunSettings


def fit_padim_in_use(tiles: TileSet) -> Any:
    """Fit PaDiM as a run does, and return its network."""
    from pipelines.training.fitting import fit

    return fit("padim", tiles, TileSet([], tiles.plan), RunSettings()).model


def with_colour(model: Any, tiles: TileSet) -> Any:
    """Let a network, fitted or not, see colour as those of a run do."""
    from pipelines.models.colour import add_colour
    from pipelines.models.fitted import Fitted

    return add_colour(Fitted(model.eval()), tiles, tiles, RunSettings().colour).model
