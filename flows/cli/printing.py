"""What commands print: one JSON object for machines, tables and sentences for people."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.core.errors import KnotwatchError
from pipelines.core.files import show_lines, show_name
from pipelines.core.records import Record
from pipelines.core.results import ValidationReport
from pipelines.core.wording import count_in_words, counts_in_words
from pipelines.data.layouts.unused import describe_unused

if TYPE_CHECKING:
    from flows.adapting.results import AdaptResult
    from flows.dataset.overview import SurfaceOverview
    from flows.dataset.surface import DataChange
    from flows.steps.results import InspectResult, MlflowPages, ModelResult, RetrainResult
    from pipelines.core.results import Inspected


# In a pipe or a file there is no width to keep to: a cut-off path would be of no use to anyone.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240)
_MOST_LISTED = 20  # images that an inspection lists one by one, unless each is wanted
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Record | Mapping[str, object]) -> None:
    """Print one object on one line of standard output."""
    data = value.model_dump(mode="json") if isinstance(value, Record) else value
    # What is not finite has no name in JSON.
    finite = json.loads(json.dumps(data), parse_constant=lambda _: None)
    print(json.dumps(finite, allow_nan=False), flush=True)  # noqa: T201 - rich would wrap it


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; cells are text, neither markup nor commands to the terminal.

    Args:
        columns: Headings; no column is narrower than the longest word of its heading.
        rows: As many cells each as there are columns; None is an empty cell.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", min_width=max(map(len, column.split())))
    for row in rows:
        table.add_row(*(Text("" if cell is None else show_name(str(cell))) for cell in row))
    out.print(table)


def say(text: str, style: str = "") -> None:
    """Print a sentence; names from outside are read neither as markup nor as commands to the terminal.

    Args:
        text: One or more lines for standard output.
        style: A style of rich, such as `yellow`; empty for none.
    """
    out.print(Text(show_lines(text)), style=style)


def print_verdict(verdict: ValidationReport) -> None:
    """Print what validation found, file by file."""
    say(f"{count_in_words(verdict.images, 'image')}, {verdict.usable} usable")
    for title, files in (("quarantined", verdict.quarantined), ("duplicate", verdict.duplicates)):
        for file in files:
            say(f"  {title}: {file.path}: {file.reason}", "yellow")
    for warning in verdict.warnings:
        say(f"  warning: {warning}", "yellow")
    if passed := describe_unused(verdict.unused, expected=True):
        say(f"  {passed}")


def print_change(change: "DataChange", *, as_json: bool) -> None:
    """Print what adding or updating data came to.

    Args:
        change: Of one surface.
        as_json: Print one JSON object instead of text.
    """
    if as_json:
        print_json(change)
        return
    taken, prepared = change.intake, change.prepared
    counts = f"{taken.new} new, {taken.changed} changed, {prepared} prepared"
    say(f"{change.surface}: {count_in_words(taken.images, 'image')}, {counts}")
    print_verdict(change.verdict)
    say(f"data version {change.data_version}")


def print_labels(surface: "SurfaceOverview") -> None:
    """Print what masks and types a surface's images have, and how to find mislabelled ones."""
    if surface.masks or surface.types:
        named = f"; types: {counts_in_words(surface.types)}" if surface.types else "; no types"
        masks = f"{count_in_words(surface.masks, 'image')} with a mask" if surface.masks else "no masks"
        say(f"{masks}{named}")
    if surface.examples:
        say(f"examples of types: {counts_in_words(surface.examples)}")
    if not surface.images:
        return
    if any(counts.get("normal") for counts in surface.splits.values()):
        say(f"normal images that may be mislabelled: knotwatch data suspects {surface.surface}")
    else:
        say("no image is labelled normal: all are trained on, and thresholds come without a guarantee")
        say(f"images that may show a defect: knotwatch data suspects {surface.surface}")


def print_error(error: KnotwatchError, *, as_json: bool) -> None:
    """Print an error for people, and for machines where they asked for JSON.

    Args:
        error: Goes to standard error, in red.
        as_json: Also print one JSON object on standard output, with the exit code.
    """
    err.print(Text(show_lines(f"knotwatch: {error}")), style="red")
    if as_json:
        print_json({"error": error.problem, "hint": error.hint, "exit_code": error.exit_code})


def print_inspect(result: "InspectResult", *, everything: bool) -> None:
    """Print what an inspection came to.

    Args:
        result: Its images are listed, or in a table of its own.
        everything: List each image, also of many; without, the normal ones of more than 20 are only counted.
    """
    pictures = "no pictures" if result.report is None else f"report: {result.report}"
    shown = result.images if everything or result.total <= _MOST_LISTED else _most_unusual(result.images)
    if shown:
        rows = [
            (i.path, "-", "-", i.error) if i.score is None else (i.path, f"{i.score:.3f}", len(i.defects), _verdict(i))
            for i in shown
        ]
        print_table(["image", "score", "regions", f"verdict (above {result.image_threshold:.3f})"], rows)
    if len(shown) < result.total:
        before = f" ({result.before} of them by an earlier call)" if result.before else ""
        say(
            f"{count_in_words(result.total, 'image')}{before}, {result.anomalous} anomalous, "
            f"{result.unreadable} unreadable (threshold {result.image_threshold:.3f})"
        )
    if result.table:
        say(f"table: {result.table}")
    elif len(shown) < result.total:
        unlisted = result.anomalous + result.unreadable - len(shown)
        lower = f"{count_in_words(unlisted, 'image')} like these and " if unlisted else ""
        normal = result.total - result.anomalous - result.unreadable
        say(f"not listed: {lower}{count_in_words(normal, 'normal image')}; --all lists each, --json too")
    say(f"model: {result.model}; {pictures}; {result.seconds:.1f} s")


def _most_unusual(images: Sequence["Inspected"]) -> Sequence["Inspected"]:
    """Pick what a person wants to see of many images: those that could not be read, then the highest scores."""
    unread = [image for image in images if image.score is None]
    flagged = sorted((i for i in images if i.anomalous), key=lambda image: image.score or 0.0, reverse=True)
    return [*unread, *flagged][:_MOST_LISTED]


def _verdict(image: "Inspected") -> str:
    """Say what an image is, and where a version knows no such domain."""
    word = "ANOMALOUS" if image.anomalous else "normal"
    return f"{word}, out of distribution" if image.out_of_distribution else word


_LABELLED = "validation_labelled_image_auroc"
_SHOWN = (
    *("validation_image_auroc", "validation_aupro", "image_auroc", "false_positive_rate", "pixel_auroc", "aupro"),
)


ALL_RESULTS = "all results: data/reports/index.html"


def print_retrain(result: "RetrainResult") -> None:
    """Print what a retrain came to."""
    if result.skipped:
        newest = max(model.version or 0 for model in result.models)
        say(f"{result.surface}: nothing changed since version {newest} was trained, so nothing was trained")
    if result.models:
        labelled = any(_LABELLED in model.metrics for model in result.models)
        shown = (*([_LABELLED] if labelled else []), *_SHOWN)
        print_table(
            ["algorithm", "version", *(n.replace("_", " ") for n in shown), "training", "size"],
            [_row(model, shown) for model in result.models],
        )
    for model in result.models:
        if model.reused and not result.skipped:
            say(f"{model.algorithm}: unchanged since version {model.version}, so not trained again")
    if result.proposed:
        version = f"version {result.proposed.version}" if result.proposed.version else "trial"
        say(f"proposed: {version} ({result.proposed.algorithm}): {result.proposed.reason}")
    print_outcome(result)


def print_outcome(result: "RetrainResult | AdaptResult") -> None:
    """Print what was decided, what is in use now, the page, and how long it took."""
    if result.decision:
        say(f"decision {result.decision.number}: {result.decision.summary}")
    if result.champion:
        say(f"champion: version {result.champion.version} ({result.champion.algorithm})")
    if result.report:
        say(f"report: {result.report}")
    say(ALL_RESULTS)
    print_pages(result.mlflow)
    say(f"{result.seconds:.1f} s")


def print_pages(pages: "MlflowPages | None") -> None:
    """Print where MLflow shows a version, or its experiment; nothing where no server does."""
    if pages:
        say(f"MLflow: {pages.version or pages.experiment}")


def _row(model: "ModelResult", shown: Sequence[str]) -> list[object]:
    figures = [f"{model.metrics[n]:.3f}" if n in model.metrics else "-" for n in shown]
    return [model.algorithm, model.version or "trial", *figures, f"{model.seconds:.0f} s", f"{model.folder_mb:.0f} MB"]
