"""What else was tried: the same images, one thing done otherwise, ranked against the outlines."""

from collections.abc import Mapping

import numpy as np

from flows.study.figures import NO_OUTLINES, in_words
from flows.study.folder import Profile, Study
from flows.study.shown import Table, Words
from flows.study.steps import SETTINGS, SURFACE, Prepared, read_image
from pipelines.core.paths import inside
from pipelines.core.results import Trained
from pipelines.detector.scan import scan_region
from pipelines.imaging.image_score import ScoreRule
from pipelines.imaging.roi import find_region
from pipelines.metrics.outlines import Pixels, compare_with_outlines
from pipelines.models.openvino.runtime import TileModel
from pipelines.training.run_settings import RunSettings
from pipelines.training.train import train


def try_otherwise(study: Study, prepared: Prepared) -> Table | Words:
    """Train PaDiM with one thing changed at a time; maps alone, no thresholds.

    Args:
        study: Its profile `quick` leaves this out.
        prepared: Trained on whole each time; the model is written beside its folder, over the last one.

    Returns:
        AUROC and average precision of the outlined images' pixels, a row for each change; a sentence where nothing was
        tried.
    """
    names = [image.path for image in prepared.images if image.path in study.outlines]
    if not names:
        return NO_OUTLINES
    if study.profile == Profile.QUICK:
        return Words("Not tried: the quick profile trains once.")
    longest = max(max(image.width, image.height) for image in prepared.images)
    half = max(256, longest // 2)
    tried: dict[str, dict[str, float]] = {
        "as it is": {},
        "nothing left out as a defect": {"unlabelled.contamination": 1e-6},
        "one kind of wood for all": {"unlabelled.most_clusters": 1},
        "images at half the size": {"unlabelled.max_side": half, "tiles.max_side": half},
    }
    rows = []
    for words, changes in tried.items():
        pixels = _rank(study, prepared, names, _with(changes))
        rows.append((words, *(in_words([p]) for p in pixels), in_words(pixels)))
    return Table(("what is done", *names, "together"), tuple(rows), "Pixel AUROC and average precision of raw maps.")


def _with(changes: Mapping[str, float]) -> RunSettings:
    """Change settings by their dotted names."""
    changed = SETTINGS
    for name, value in changes.items():
        section, key = name.split(".")
        changed = changed.model_copy(update={section: getattr(changed, section).model_copy(update={key: value})})
    return changed


def _rank(study: Study, prepared: Prepared, names: list[str], settings: RunSettings) -> list[Pixels]:
    """Return the pixels of each outlined image, scored by a network trained on all with these settings."""
    folder = prepared.folder.with_name("model-tried")
    trained = train("padim", prepared.folder, prepared.images, settings, folder, checked=False)
    model = TileModel(folder, trained.precision)
    return [_pixels(study, prepared, name, trained, model) for name in names]


def _pixels(study: Study, prepared: Prepared, name: str, trained: Trained, model: TileModel) -> Pixels:
    image = read_image(inside(prepared.raw, name))
    box = find_region(image, SURFACE.region)
    # How a map becomes an image score does not matter here.
    rule = ScoreRule(border_share=0.0, top_share=0.0)
    found = scan_region(model, trained.plan, rule, image[box.top : box.bottom, box.left : box.right])
    whole = np.zeros(image.shape[:2], np.float32)
    whole[box.top : box.bottom, box.left : box.right] = found.map
    return compare_with_outlines(whole, [o.polygon for o in study.outlines[name]], []).strict
