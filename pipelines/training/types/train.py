"""Stage: learn to name what a region is from a surface's examples, and see how well on examples held out."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.core.files import write_whole
from pipelines.core.parsing import read_record
from pipelines.core.records import TYPES
from pipelines.core.results import TypeFigures
from pipelines.core.wording import counts_in_words
from pipelines.data.prepared import PreparedImage
from pipelines.detector.type_head import FILE
from pipelines.metrics.types import count_confusion, type_intervals
from pipelines.models.openvino.embedder import embed_crops
from pipelines.models.openvino.runtime import TileModel
from pipelines.training.types.examples import read_examples
from pipelines.training.types.fit import fit_head, hold_out

_FIGURES = "figures.json"  # written last
_NOTHING = "no-types"  # there was nothing to learn, which was said

log = logging.getLogger(__name__)


def name_types(
    prepared: Path, images: Sequence[PreparedImage], folder: Path, resamples: int, seed: int
) -> TypeFigures | None:
    """Write the network and the head that name types, and say how well they do.

    What lies there already is taken as it is: it depends on no algorithm, and the next one of the same run shares it.
    The figures are of heads that saw no example of the same group. Typed regions mostly lie on test images, so no
    figure of the test split may be made with the head that is written: the evaluation uses none.

    Args:
        prepared: The surface's prepared folder.
        images: All of the surface.
        folder: A folder of this run; its subfolder `types` is written to.
        resamples: Of the bootstrap behind 95 % intervals; 0 gives none.
        seed: Draws examples, parts and resamples.

    Returns:
        Figures on held-out examples; None where there are too few examples, or of one type alone.

    Raises:
        ToolError: If the figures that lie there already are damaged.
    """
    if (folder / TYPES / _FIGURES).is_file():
        return read_record(TypeFigures, folder / TYPES / _FIGURES, "retrain with --force")
    if (folder / _NOTHING).is_file():
        return None
    started = time.monotonic()
    examples, too_few, only = read_examples(prepared, images, seed)
    if too_few:
        log.warning("types: %s: too few images to learn from, 3 or more are needed", counts_in_words(too_few))
    if only:
        log.info(
            "types: every example is of type '%s': with one type there is nothing to tell apart, none is named", only
        )
    if not examples:
        write_whole(folder / _NOTHING, "")
        return None
    from pipelines.models.features.crops import export_embedding

    export_embedding(folder / TYPES)
    features = embed_crops(TileModel(folder / TYPES), [e.crop for e in examples])
    types, groups = [e.type for e in examples], [e.group for e in examples]
    held_out = hold_out(features, types, groups, seed)
    head = fit_head(features, types, held_out)
    head.save(folder / TYPES / FILE)
    intervals = type_intervals(types, held_out.named, groups, resamples, seed)
    table = count_confusion(types, held_out.named, held_out.types)
    figures = TypeFigures(
        types=held_out.types,
        confusion=tuple(tuple(row) for row in table.tolist()),
        accuracy=intervals.accuracy,
        macro_f1=intervals.macro_f1,
        unknown=int((held_out.distances > head.limits.max_distance).sum()),
        held_out=held_out.message,
        too_few=too_few,
        seconds=time.monotonic() - started,
    )
    write_whole(folder / TYPES / _FIGURES, figures.model_dump_json(indent=1))
    log.info(
        "types: %d examples of %d types, held-out accuracy %.3f, macro-F1 %.3f, %.1f s",
        *(len(examples), len(held_out.types), figures.accuracy.value, figures.macro_f1.value, figures.seconds),
    )
    return figures
