"""`knotwatch data suspects`: which images that are taken for normal to look at first."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.parameters import Json, Surface
from flows.cli.printing import print_json, print_table, say
from flows.runtime.environment import log_to_terminal
from pipelines.core.paths import find_project

if TYPE_CHECKING:
    from flows.dataset.suspects import SuspectsResult


def suspects(
    surface: Surface,
    count: Annotated[int, typer.Option(metavar="N", min=1, max=200, help="List at most N images.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Also list what was confirmed as normal before.")] = False,
    as_json: Json = False,
) -> None:
    """List the images taken for normal that are least like the rest: one that is mislabelled is likely among them.

    All images but those of the test split are compared with each other, none with its own group; without labels, too.
    data/reports/SURFACE/suspects.html shows them, to be confirmed or relabelled: see `knotwatch data review`.
    """
    from flows.dataset.suspects import find_suspects

    log_to_terminal()
    result = find_suspects(find_project(), surface, count, everything=everything)
    if as_json:
        print_json(result)
    else:
        _print(result)


def _print(result: "SuspectsResult") -> None:
    from flows.dataset.suspects import threshold_in_words

    rows = [
        (
            s.rank,
            s.path,
            s.split,
            f"{s.score:.2f}",
            "" if s.threshold_without is None else f"{s.threshold_without:.3f}",
        )
        for s in result.suspects
    ]
    headings = ["rank", "image", "split", "times the median"]
    if result.threshold is not None:
        say(threshold_in_words(result.threshold))
        headings.append("threshold without it")
    print_table(headings, [row[: len(headings)] for row in rows])
    confirmed = f", {result.reviewed} confirmed before and not listed" if result.reviewed else ""
    say(f"{result.surface}: {result.images} images taken for normal{confirmed}; {result.seconds:.0f} s")
    say(f"look at {result.page}, save the review there, then: knotwatch data review {result.surface} FILE")
