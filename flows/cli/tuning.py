"""`knotwatch tune`: an algorithm's settings, tried on the validation split."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.parameters import Json, Surface
from flows.cli.printing import print_json, print_table, say

if TYPE_CHECKING:
    from flows.tuning.results import TuneResult

_SHOWN = 5  # trials that are printed


def tune(
    surface: Surface,
    algorithm: Annotated[
        str | None, typer.Option(help="Whose settings; default: the champion's, else the first that is trained.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those of earlier calls included.")] = 40,
    hours: Annotated[float | None, typer.Option(min=0.001, help="Begin no trial after so many hours.")] = None,
    profile: Annotated[str, typer.Option(help="quick or full: how much effort a trial is.")] = "full",
    apply: Annotated[bool, typer.Option("--apply", help="Write the best settings into the surface's YAML.")] = False,
    as_json: Json = False,
) -> None:
    """Try an algorithm's settings, judge each on the validation split alone, and name the best.

    Ctrl-C keeps what is done, and the same command goes on. Nothing is registered: retrain afterwards.
    """
    from flows.commands.train import call_tune

    result = call_tune(surface, algorithm, trials, hours, profile, apply=apply)
    if as_json:
        print_json(result)
    else:
        _print(result)


def _print(result: "TuneResult") -> None:
    finished = [t for t in result.tried if t.worth is not None]
    best = sorted(finished, key=lambda t: -t.worth.value if t.worth else 0.0)[:_SHOWN]
    shown = [*best, *([result.tried[0]] if result.tried[0] not in best else [])]
    rows = [
        (
            f"{t.number}{'' if t.number else ' (as they are)'}",
            f"{t.worth.image_auroc:.4f}" if t.worth else "",
            f"{t.worth.aupro:.4f}" if t.worth and t.worth.aupro is not None else "",
            ", ".join(f"{key} {text}" for key, text in t.settings.items()),
        )
        for t in shown
    ]
    say(f"{result.surface}, {result.algorithm}: {len(result.tried) - 1} trials, on {result.told_by}")
    print_table(["trial", "image AUROC", "AUPRO", "settings"], rows)
    if not result.lines:
        say("No trial was worth more than the settings as they are.")
        return
    where = f"data/surfaces/{result.surface}.yaml"
    say(f"written to {where}:" if result.applied else f"for {where} (--apply writes it):")
    say(result.lines.rstrip("\n"))
    say(f"Next: knotwatch retrain {result.surface}")
