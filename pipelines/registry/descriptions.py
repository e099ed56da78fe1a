"""What MLflow's pages say of a surface, a run and a retrain, in Markdown, and which few figures they show."""

from collections.abc import Mapping

from pipelines.core.records import Interval
from pipelines.core.results import VersionSummary
from pipelines.core.wording import METRIC_NAMES, interval_in_words, threshold_in_words
from pipelines.registry.record import DecisionRecord
from pipelines.tracking.runs import Run

_FIGURES = ("image_auroc", "aupro", "image_recall", "false_positive_rate")


def report_address(experiment: str, run_id: str) -> str:
    """Address a run's report from any of MLflow's pages.

    Args:
        experiment: Number of the surface's experiment.
        run_id: Run that the report is an artifact of.
    """
    return f"#/experiments/{experiment}/runs/{run_id}/artifacts/index.html"


def describe_surface(surface: str) -> str:
    """Say what the runs of a surface's experiment are."""
    return (
        f"Anomaly detectors for images of **{surface}**, trained on normal images only.\n\n"
        "Each run `retrain …` or `adapt …` holds one run an algorithm below it. `test/…` are figures of images that "
        "nothing was trained or chosen on, at the calibrated threshold where they need one; `validation/…` are those "
        "that algorithms are chosen by; `cost/…` is time in seconds and size in MB. A run's files have every figure "
        "(`summary.json`, `evaluation.json`), charts, and its report (`index.html`).\n\n"
        f"The version in use is [registered](#/models/{surface}) under the alias `champion`."
    )


def describe_model(surface: str, record: DecisionRecord | None) -> str:
    """Say what a registered model is, how it is loaded, and why its champion is in use.

    Args:
        surface: Name of the registered model.
        record: The last decision; None where there was none yet.

    Returns:
        Markdown.
    """
    said = f"**Last decision** ({record.time:%d %B %Y}): {record.summary}.\n\n" if record else ""
    return (
        f"{said}Anomaly detectors for images of **{surface}**: encoded images (JPEG, PNG …) in the column `image` to a "
        "score and a verdict. The alias `champion` is the version in use, `challenger` waits for a decision, "
        "`previous` was in use before.\n\n"
        f'`mlflow.pyfunc.load_model("models:/{surface}@champion")` loads it where knotwatch is installed. '
        f"`knotwatch models {surface} --lineage` traces it back to its images."
    )


def describe_versions(record: DecisionRecord, report: str) -> dict[int, str]:
    """Say of the versions that a decision is about whether they are in use, and why.

    Args:
        record: The decision.
        report: Address of the report of the version that was decided on; empty where it has none.

    Returns:
        Markdown by the number of the version: the one decided on, and the champion that it replaced.
    """
    used = record.after == record.version
    found = {
        record.version: f"**{'In use' if used else 'Not in use'}** since {record.time:%d %B %Y}: {record.summary}."
        + (f" [Report]({report})" if report else "")
    }
    if record.before is not None and record.before != record.after:
        now = f"version {record.after} is" if record.after else "none is"
        found[record.before] = f"**In use until** {record.time:%d %B %Y}; {now} now: {record.summary}."
    return found


def describe_run(run: Run, surface: str, data_version: str, found: VersionSummary) -> str:
    """Say what a run trained, on which data, how good that is, and where more stands.

    Args:
        run: Of one algorithm.
        surface: Name of the surface.
        data_version: Of the data that was trained on.
        found: Its figures; without a version it is a trial.

    Returns:
        Markdown.
    """
    if found.version:
        named = f"[Version {found.version}](#/models/{surface}/versions/{found.version}) of **{surface}**"
    else:
        named = f"A trial on **{surface}**, not registered"
    made = f"trained on {found.tiles} tiles of normal images in {found.seconds:.0f} s"
    if not found.tiles:
        made = "the mean of the anomaly maps of other versions of the same run, trained no further"
    figures = [f"- {METRIC_NAMES[n]}: {interval_in_words(found.metrics[n])}" for n in _FIGURES if n in found.metrics]
    lines = figures or ["- No labelled test images: nothing is known of how well it finds defects."]
    return "\n".join([
        f"{named}: {found.algorithm}, {made}.",
        "",
        "On the test split (95 % interval):",
        "",
        *lines,
        "",
        f"Threshold: {threshold_in_words(found.image_threshold, 'normal images')}",
        "",
        _origin(run, surface, data_version),
    ])  # fmt: skip


def describe_retrain(run: Run, surface: str, data_version: str, said: str) -> str:
    """Say what a retrain or an adaptation came to, and where more stands.

    Args:
        run: The parent run.
        surface: Name of the surface.
        data_version: Of the data that was trained on.
        said: What was decided or proposed, in words; empty for nothing.

    Returns:
        Markdown.
    """
    return f"{said or 'Nothing was proposed'}.\n\n{_origin(run, surface, data_version)}"


def _origin(run: Run, surface: str, data_version: str) -> str:
    report = f"[Report]({report_address(run.experiment, run.id)})"
    back = f"`knotwatch data checkout {surface} {data_version}` brings it back"
    return f"{report} · data version `{data_version}`: {back}"


TEST = (
    *("image_auroc", "aupro", "image_recall", "false_positive_rate", "image_f1", "image_ap", "pixel_auroc"),
    "outline_iou",
)
VALIDATION = ("image_auroc", "aupro", "pixel_auroc", "labelled_image_auroc", "labelled_aupro")
_DIGITS = 4


def shown_figures(test: Mapping[str, Interval], validation: Mapping[str, float]) -> dict[str, float]:
    """Choose what a run's page shows of the test and the validation split.

    Args:
        test: Figures of the test split by name.
        validation: Figures of the validation split by name, as `flatten_selection` names them.

    Returns:
        Figures by `test/NAME` and `validation/NAME`, rounded; those that there are.

    >>> shown_figures({"aupro": Interval(value=0.51239), "image_f1_max": Interval(value=1)}, {"image_auroc": 0.9})
    {'test/aupro': 0.5124, 'validation/image_auroc': 0.9}
    """
    found = {f"test/{name}": test[name].value for name in TEST if name in test}
    found |= {f"validation/{name}": validation[name] for name in VALIDATION if name in validation}
    return {name: round(value, _DIGITS) for name, value in found.items()}
