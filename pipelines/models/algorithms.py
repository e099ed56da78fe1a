"""The algorithms by name; their modules are imported where they are fitted."""

from pipelines.config import RunSettings
from pipelines.imaging.tiling import TileSet
from pipelines.models.fitted import Fitted
from pipelines.records import Algorithm


def fit(algorithm: Algorithm, tiles: TileSet, select: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to tiles; `select` holds other sound tiles that say when to stop."""
    if algorithm == Algorithm.PADIM:
        from pipelines.models.padim import fit_padim

        return fit_padim(tiles, settings.padim, settings.seed)
    if algorithm == Algorithm.FASTFLOW:
        from pipelines.models.fastflow import fit_fastflow

        return fit_fastflow(tiles, select, settings.fastflow, settings.seed)
    from pipelines.models.efficientad import fit_efficientad

    return fit_efficientad(tiles, select, settings.efficientad, settings.seed)
