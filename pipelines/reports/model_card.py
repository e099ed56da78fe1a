"""A version's model card, in Markdown."""

from pathlib import Path

import jinja2

from pipelines.core.results import Evaluation, Selection, Trained, TypeFigures
from pipelines.core.wording import (
    METRIC_NAMES,
    interval_in_words,
    threshold_in_words,
    training_in_words,
    types_in_words,
)
from pipelines.detector.version import VersionInfo
from pipelines.models.registry import find_algorithm

_ABOUT_ENSEMBLE = (
    "An ensemble: the mean of its members' anomaly maps, each divided by the median score of normal images"
)


def model_card(  # noqa: PLR0913, PLR0917 - one card says all of these
    template: Path,
    info: VersionInfo,
    trained: Trained,
    selection: Selection,
    evaluation: Evaluation,
    profile: str,
    commit: str,
    types: TypeFigures | None = None,
    latency: str = "",
) -> str:
    """Write a version's model card in Markdown.

    Args:
        template: The Jinja template; it may use the names that are handed to it here and no others.
        info: The version: surface, thresholds and their guarantees.
        trained: The fit and what it cost; its algorithm must be registered.
        selection: Figures of the validation split.
        evaluation: Figures of the test split.
        profile: Name of the profile that it was trained with.
        commit: Git commit of the project; empty where there is none.
        types: How well types are named; None where the version names none.
        latency: How long a megapixel takes, and how busy the machine was, in a sentence; empty where nothing was timed.

    Returns:
        The card; texts are not escaped.

    Raises:
        SettingsError: If there is no such algorithm.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)  # noqa: S701 - Markdown
    page = environment.from_string(template.read_text("utf-8"))
    return page.render(
        info=info,
        trained=trained,
        selection=selection,
        evaluation=evaluation,
        types=types_in_words(types),
        names=METRIC_NAMES,
        in_words=interval_in_words,
        about=_ABOUT_ENSEMBLE if trained.members else find_algorithm(trained.algorithm).about,
        training=(*training_in_words(trained), *([latency] if latency else [])),
        profile=profile,
        commit=commit,
        image_threshold=threshold_in_words(info.image_threshold, "normal images"),
        pixel_threshold=threshold_in_words(info.pixel_threshold, "the normal area"),
    )
