"""A version's model card, in Markdown."""

from pathlib import Path

import jinja2

from pipelines.core.records import Algorithm
from pipelines.core.results import Evaluation, Selection, Trained, TypeFigures
from pipelines.core.wording import METRIC_NAMES, promise_in_words, training_in_words, types_in_words
from pipelines.detector.version import VersionInfo

ABOUT = {
    Algorithm.PADIM: "PaDiM (Defard et al. 2021): Gaussians of ImageNet features, and the distance from them",
    Algorithm.FASTFLOW: "FastFlow (Yu et al. 2021): a normalising flow over ImageNet features, and their likelihood",
    Algorithm.EFFICIENTAD: "EfficientAD (Batzner et al. 2024): a student that fails to imitate its teacher where a "
    "photograph is unusual, and an autoencoder for the larger picture",
    Algorithm.FASTFLOW_DINOV2: "FastFlow (Yu et al. 2021): a normalising flow over ImageNet features and over those of "
    "DINOv2 (Oquab et al. 2024), and their likelihood",
}


def model_card(  # noqa: PLR0913, PLR0917 - one card says all of these
    template: Path,
    info: VersionInfo,
    trained: Trained,
    selection: Selection,
    evaluation: Evaluation,
    profile: str,
    commit: str,
    types: TypeFigures | None = None,
) -> str:
    """Write a version's model card in Markdown."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)  # noqa: S701 - Markdown
    page = environment.from_string(template.read_text("utf-8"))
    return page.render(
        info=info,
        trained=trained,
        selection=selection,
        evaluation=evaluation,
        types=types_in_words(types),
        names=METRIC_NAMES,
        about=ABOUT[trained.algorithm],
        training=training_in_words(trained),
        profile=profile,
        commit=commit,
        image_promise=promise_in_words(info.image_threshold, "sound photographs"),
        pixel_promise=promise_in_words(info.pixel_threshold, "the sound area"),
    )
