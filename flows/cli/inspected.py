"""What `inspect` prints: one row a photograph, or what a table came to."""

from typing import TYPE_CHECKING

from flows.cli.output import print_table, say

if TYPE_CHECKING:
    from flows.results import InspectResult
    from pipelines.records import Inspected


def print_inspect(result: "InspectResult") -> None:
    """Print what an inspection came to."""
    pictures = "no pictures" if result.report is None else f"report: {result.report}"
    if result.table is None:
        rows = [
            (i.path, "-", "-", i.error) if i.score is None else (i.path, f"{i.score:.3f}", len(i.defects), _verdict(i))
            for i in result.images
        ]
        print_table(["photograph", "score", "defects", f"verdict (above {result.image_threshold:.3f})"], rows)
    else:
        before = f" ({result.before} of them by an earlier call)" if result.before else ""
        say(
            f"{result.photographs} photographs{before}, {result.anomalous} anomalous, {result.unreadable} unreadable "
            f"(threshold {result.image_threshold:.3f})"
        )
        say(f"table: {result.table}")
    say(f"model: {result.model}; {pictures}; {result.seconds:.1f} s")


def _verdict(image: "Inspected") -> str:
    """Say what a photograph is, and where a version knows no such kind of surface."""
    word = "ANOMALOUS" if image.anomalous else "sound"
    return f"{word}, of no kind that was trained on" if image.foreign else word
