"""`knotwatch adapt`: from one surface to another by a handful of images."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.parameters import Json, complete_surface
from flows.cli.printing import print_json, print_outcome, print_table, say

if TYPE_CHECKING:
    from flows.adapting.results import AdaptResult, AttemptResult

_SHOWN = ("validation_image_auroc", "image_auroc", "pixel_auroc", "aupro", "false_positive_rate")


class StrategyOption(StrEnum):
    """What `--strategy` takes."""

    AUTO = "auto"
    REUSE = "reuse"
    STATISTICS = "statistics"
    FINETUNE = "finetune"
    SCRATCH = "scratch"


def adapt(
    source: Annotated[
        str, typer.Argument(help="The surface whose versions are started from.", autocompletion=complete_surface)
    ],
    target: Annotated[
        str, typer.Argument(help="The surface that they are brought to.", autocompletion=complete_surface)
    ],
    shots: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Images of TARGET to use, those held out included; may be repeated: "
            "the largest makes the version, the others show what fewer come to. Default: all, up to 64.",
        ),
    ] = None,
    strategy: Annotated[
        StrategyOption, typer.Option(help="auto compares all of them and training from scratch.")
    ] = StrategyOption.AUTO,
    profile: Annotated[str, typer.Option(help="quick or full: how much effort to spend.")] = "full",
    assign: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Try again although nothing changed.")] = False,
    as_json: Json = False,
) -> None:
    """Bring what SOURCE taught to TARGET by a few normal images, and say whether it beat training from scratch.

    The strategies are compared on images held out from those, with synthetic anomalies; the test split only reports.
    The chosen version is registered under TARGET and proposed there.
    """
    from flows.commands.train import call_adapt

    result = call_adapt(source, target, shots or [], strategy.value, profile, assign or [], force=force)
    if as_json:
        print_json(result)
    else:
        _print(result)


def _print(result: "AdaptResult") -> None:
    if result.skipped:
        say(f"nothing changed since version {result.chosen.version} was made, so nothing was tried again")
    say(result.summary)
    print_table(
        ["algorithm", "strategy", "shots", *(name.replace("_", " ") for name in _SHOWN), "training"],
        [_row(found) for found in result.results],
    )
    if tested := result.results[0].tested:
        say(f"each strategy's test figures are of {tested} images; the version is tested on all")
    for failure in result.failed:
        say(f"{failure.algorithm} failed: {failure.problem}", "yellow")
    say(f"chosen: version {result.chosen.version} ({result.chosen.reason})")
    say(result.guarantee)
    if result.chosen_with_labels:
        say(f"with the labels of the test split would have been chosen: {result.chosen_with_labels}")
    print_outcome(result)


def _row(found: "AttemptResult") -> list[object]:
    figures = [f"{found.metrics[n]:.3f}" if n in found.metrics else "-" for n in _SHOWN]
    return [found.algorithm, found.strategy, found.shots, *figures, f"{found.seconds:.0f} s"]
