"""Stage: fit one algorithm on the train part and export it as a model folder without thresholds."""

import logging
import resource
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.config import RunSettings
from pipelines.errors import ToolError
from pipelines.imaging.tiling import TileSet, choose_plan
from pipelines.prepared import PreparedImage
from pipelines.records import Part, Trained

log = logging.getLogger(__name__)


def train_padim(prepared: Path, images: Sequence[PreparedImage], settings: RunSettings, folder: Path) -> Trained:
    """Fit PaDiM (Defard et al. 2021) on the train part's tiles and export it to `folder`.

    Raises:
        ToolError: where the train part is empty.
    """
    from pipelines.models.export import export_openvino
    from pipelines.models.padim import fit_padim

    started = time.monotonic()
    chosen = [i for i in images if i.part == Part.TRAIN]
    if not chosen:
        raise ToolError("the train part holds no image", cure="add normal photographs, then `knotwatch data update`")
    sizes = [(i.box.height, i.box.width) for i in chosen]
    plan = choose_plan(settings.tiles, sizes)
    tiles = TileSet(
        [prepared / i.file for i in chosen], plan, max_tiles=settings.padim.max_train_tiles, seed=settings.seed
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = fit_padim(tiles, settings.padim, settings.seed)
    export_openvino(model, plan.tile_height, plan.tile_width, folder)
    seconds = time.monotonic() - started
    log.info("train padim: %d tiles of %d images, %.1f s", len(tiles), len(chosen), seconds)
    return Trained(
        algorithm="padim", folder=str(folder), plan=plan, tiles=len(tiles), seconds=seconds, peak_rss_mb=peak_rss_mb()
    )


def peak_rss_mb() -> float:
    """Return the process's peak resident memory so far, MB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
