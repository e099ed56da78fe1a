"""What an inspection of many images prints, and what no name in it can do to the terminal."""

import logging
from collections.abc import Callable

import pytest

from flows.cli.printing import print_error, print_inspect, print_table, say
from flows.runtime.environment import log_to_terminal
from flows.steps.results import InspectResult
from pipelines.core.errors import CallError
from pipelines.core.results import Inspected

Said = pytest.CaptureFixture[str]


def _inspected(count: int, flagged: set[int]) -> InspectResult:
    images = tuple(
        Inspected(path=f"board-{number:03d}.png", score=1 + number / 1000, anomalous=number in flagged)
        for number in range(count)
    )
    return InspectResult(
        surface="oak",
        model="oak/1 (padim)",
        image_threshold=1.0,
        pixel_threshold=1.0,
        images=(*images, Inspected(path="torn.png", error="cannot be read")),
        total=count + 1,
        anomalous=len(flagged),
        unreadable=1,
        out=None,
        report=None,
        seconds=1.0,
    )


def _listed(said: str) -> list[str]:
    return [line.split()[0] for line in said.splitlines() if ".png" in line]


def test_of_many_images_the_unusual_ones_are_listed_and_the_others_counted(capsys: Said) -> None:
    print_inspect(_inspected(40, {3, 30}), everything=False)
    said = capsys.readouterr().out
    assert _listed(said) == ["torn.png", "board-030.png", "board-003.png"]
    assert "41 images, 2 anomalous, 1 unreadable" in said
    assert "not listed: 38 normal images" in said


def test_of_very_many_unusual_images_the_highest_scores_are_listed(capsys: Said) -> None:
    print_inspect(_inspected(50, set(range(10, 50))), everything=False)
    said = capsys.readouterr().out
    assert _listed(said) == ["torn.png", *(f"board-{number:03d}.png" for number in range(49, 30, -1))]
    assert "not listed: 21 images like these and 10 normal images" in said


def test_each_image_is_listed_where_they_are_few_or_all_are_wanted(capsys: Said) -> None:
    print_inspect(_inspected(40, {3}), everything=True)
    assert len(_listed(capsys.readouterr().out)) == 41
    print_inspect(_inspected(5, {3}), everything=False)
    said = capsys.readouterr().out
    assert len(_listed(said)) == 6
    assert "not listed" not in said


# Sets the window's title, colours what follows, clears the line, and turns the direction of writing.
HOSTILE = "a\x1b]0;owned\x07\x1b[31m\x9b2K\r\u202egnp.png"


def _log(text: str) -> None:
    log_to_terminal()
    logging.getLogger("flows").warning("%s", text)


@pytest.mark.parametrize(
    "tell",
    [
        say,
        lambda text: print_table(["image"], [[text]]),
        lambda text: print_error(CallError(text, hint="rename it"), as_json=True),
        _log,
    ],
    ids=["sentence", "table", "error", "log"],
)
def test_no_name_of_a_file_commands_the_terminal(tell: Callable[[str], None], capsys: Said) -> None:
    tell(HOSTILE)
    said = "".join(capsys.readouterr())
    assert "gnp.png" in said
    assert not set(said) & set("\x1b\x07\x9b\r\u202e")
