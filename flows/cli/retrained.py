"""What `retrain` prints: one row an algorithm, the proposal and why, the decision, the champion, the page."""

from typing import TYPE_CHECKING

from flows.cli.output import print_table, say

if TYPE_CHECKING:
    from flows.adapt_results import AdaptResult
    from flows.results import ModelResult, RetrainResult

_SHOWN = (*("select_image_auroc", "select_aupro", "image_auroc", "false_alarm_rate", "pixel_auroc", "aupro"),)


def print_retrain(result: "RetrainResult") -> None:
    """Print what a retrain came to."""
    if result.skipped:
        newest = max(model.version or 0 for model in result.models)
        say(f"{result.surface}: nothing changed since version {newest} was trained, so nothing was trained")
    if result.models:
        print_table(
            ["algorithm", "version", *(n.replace("_", " ") for n in _SHOWN), "training", "size"],
            [_row(model) for model in result.models],
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
    say(f"{result.seconds:.1f} s")


def _row(model: "ModelResult") -> list[object]:
    figures = [f"{model.metrics[n]:.3f}" if n in model.metrics else "-" for n in _SHOWN]
    return [model.algorithm, model.version or "trial", *figures, f"{model.seconds:.0f} s", f"{model.folder_mb:.0f} MB"]
