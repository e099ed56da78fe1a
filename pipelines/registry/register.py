"""Stage: keep a version in the registry with all that explains it, and see that it gives its scores again."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipelines.core.errors import ModelError
from pipelines.core.results import Evaluation, Selection, Trained, TypeFigures
from pipelines.core.wording import flatten
from pipelines.detector.version import VersionInfo
from pipelines.models.registry import algorithms
from pipelines.registry.descriptions import describe_model, shown_figures
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.runs import Run
from pipelines.tracking.store import Tracking
from pipelines.training.choosing.figures import flatten_selection
from pipelines.training.run_settings import RunSettings

EVALUATION = "evaluation.json"
_TOLERANCE = 1e-6

log = logging.getLogger(__name__)


def log_version(
    run: Run, trained: Trained, info: VersionInfo, selection: Selection, evaluation: Evaluation, settings: RunSettings
) -> None:
    """Put parameters, figures and thresholds on a run.

    Args:
        run: Open; it is written to.
        trained: What was fitted, and what it cost.
        info: The version's model.json, whose thresholds are logged and which becomes a file of the run.
        selection: Figures of the validation split; `shown_figures` says which are logged, and how they are named.
        evaluation: Figures of the test split; it becomes a file of the run, with all of them and their bounds.
        settings: Parameters by dotted keys; the sections of other algorithms are left out.
    """
    others = {
        "adapt",
        *({"ensemble"} - {trained.algorithm}),
        *(other for other in algorithms() if other != trained.algorithm),
    }
    own = dict(flatten(settings.model_dump(mode="json", exclude=others)))
    run.params({**own, "tiles.count": trained.tiles, "plan": info.plan.mode})
    run.tags({"precision": trained.precision, **{f"note {name}": text for name, text in trained.notes.items()}})
    run.metrics(shown_figures(evaluation.metrics, flatten_selection(selection)))
    run.metrics({
        "threshold/image_threshold": round(info.image_threshold.threshold, 4),
        "threshold/pixel_threshold": round(info.pixel_threshold.threshold, 4),
        "cost/train_seconds": round(trained.seconds, 1),
        "cost/evaluate_seconds": round(evaluation.seconds, 1),
        # Of an ensemble nothing was fitted.
        **({"cost/peak_rss_mb": round(trained.peak_rss_mb)} if trained.peak_rss_mb else {}),
    })  # fmt: skip
    run.curves(trained.curves)
    run.text(evaluation.model_dump_json(indent=1), EVALUATION)
    run.text(info.model_dump_json(indent=1), "model.json")


def log_types(run: Run, types: TypeFigures) -> None:
    """Put on a run how well types are named.

    Args:
        run: Open; it is written to.
        types: Figures on examples that were held out; they become a file of the run.
    """
    run.metrics({"types/accuracy": round(types.accuracy.value, 4), "types/macro_f1": round(types.macro_f1.value, 4)})
    run.text(types.model_dump_json(indent=1), "types.json")


def register(
    tracking: Tracking, run: Run, folder: Path, info: VersionInfo, tags: Mapping[str, str], card: str
) -> ModelVersion:
    """Register a model folder under its surface's name.

    Args:
        tracking: The project's MLflow store, which is written to.
        run: The open run that made the version.
        folder: The model folder, complete; a list of its files' checksums is written into it.
        info: The folder's model.json, which names surface and algorithm.
        tags: What else the version carries, besides its algorithm.
        card: Model card, Markdown: the version's description.

    Returns:
        The version, without an alias.
    """
    started = time.monotonic()
    version = tracking.register(run, info.surface, folder, {"algorithm": info.algorithm, **tags}, card)
    if version.version == 1:
        tracking.describe_model(info.surface, describe_model(info.surface, None))
    log.info("register %s: version %d, %.1f s", info.surface, version.version, time.monotonic() - started)
    return version


def check_reproduction(
    tracking: Tracking, version: ModelVersion, images: Sequence[Path], expected: Sequence[float]
) -> None:
    """Load a registered version as any client would, and score images again from their files.

    Args:
        tracking: Store that holds the version's files.
        version: The one to load.
        images: Files of whole images; may be empty.
        expected: Scores by the evaluation, one an image in the same order, on the version's scale.

    Raises:
        ModelError: If a score differs by more than 1e-6 of the expected one, or 1e-6 where that is below 1; or if it
            would be loaded by another module than ours.
    """
    model = tracking.load_pyfunc(version.surface, version.version)
    table = pd.DataFrame({"image": [path.read_bytes() for path in images]})
    if not len(table):
        return
    for path, score, wanted in zip(images, model.predict(table)["score"], expected, strict=True):
        if not abs(score - wanted) <= _TOLERANCE * max(1.0, abs(wanted)):
            raise ModelError(
                f"{version.surface} version {version.version} gives {path.name} a score of {score:.8f}, "
                f"its evaluation gave {wanted:.8f}",
                hint="the version stays registered without an alias; retrain, and report this if it comes again",
            )
