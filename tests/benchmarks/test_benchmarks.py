import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.alternation import time_sides
from benchmarks.bench_report import Bench, collect, make_table, write_json
from benchmarks.figures import ratio_figure
from benchmarks.fresh_process import peak_mb
from benchmarks.members import Figures, choose_without, name_combination, regret
from benchmarks.padim_inference import compare
from benchmarks.review_cycle import Cycle, Scores, compare_cycles, false_alarms
from benchmarks.unlabelled_count import SURFACE, DrawnSlices, draw_slices, split
from flows.study.steps import prepare_folder
from pipelines.core.errors import ToolError
from pipelines.core.records import Label, Precision


class Clock:
    """A clock that fake sides set forward."""

    def __init__(self) -> None:
        self.now, self.turns = 0.0, ""

    def side(self, name: str, *seconds: float) -> "FakeSide":
        return FakeSide(self, name, list(seconds))


class FakeSide:
    def __init__(self, clock: Clock, name: str, seconds: list[float]) -> None:
        self.clock, self.name, self.seconds = clock, name, seconds

    def __call__(self) -> None:
        self.clock.now += self.seconds.pop(0)
        self.clock.turns += self.name


def test_sides_alternate_and_settling_calls_do_not_count() -> None:
    clock = Clock()
    sides = {"a": clock.side("a", 100, 1, 3, 100, 5, 7), "b": clock.side("b", 100, 2, 2, 100, 4, 4)}
    found = time_sides(sides, 2, calls=2, settling=1, clock=lambda: clock.now)
    assert found == {"a": [2, 6], "b": [2, 4]}
    assert clock.turns == "aaabbb" + "bbbaaa"


def test_the_ratio_is_of_neighbours_not_of_medians() -> None:
    # The machine was busy in the last two rounds: each side's median lies in another round.
    figure = ratio_figure("fit", "theirs", "s", ours=[1, 1, 1, 40, 50], reference=[2, 2, 30, 80, 100])
    assert (figure.ours, figure.reference) == (1, 30)
    assert (figure.ratio, figure.low, figure.high, figure.resamples) == (0.5, 1 / 30, 0.5, 5)
    with pytest.raises(ValueError, match="shorter"):
        ratio_figure("fit", "theirs", "s", ours=[1, 2], reference=[1])


@pytest.mark.slow
def test_each_pair_gets_a_figure_and_our_sides_are_measured_once_a_round() -> None:
    calls = {"f32": 0, "bf16": 0, "x": 0, "y": 0}

    def count(name: str) -> None:
        calls[name] += 1

    ours = {Precision.F32: lambda: count("f32"), Precision.BF16: lambda: count("bf16")}
    figures = compare(ours, {"x": lambda: count("x"), "y": lambda: count("y")}, 5)
    assert [f.against for f in figures] == [f"{name}; ours in {own}" for own in ("f32", "bf16") for name in "xy"]
    assert {figure.resamples for figure in figures} == {5}
    assert calls["f32"] == calls["bf16"] == calls["x"] == calls["y"] > 5


@pytest.fixture
def bench() -> Bench:
    figures = [
        ratio_figure("padim-fit", "anomalib", "s", ours=[1.5, 1.5, 3], reference=[6, 6, 6], note="at stride 8"),
        ratio_figure("padim-fit-memory", "anomalib's growth", "MB", ours=[1234.4], reference=[2468.8]),
    ]
    return collect(figures, 12.34)


def test_the_table_shows_ratio_spread_and_absolute_figures(bench: Bench) -> None:
    console = Console(width=150, record=True, file=StringIO())
    console.print(make_table(bench))
    lines = console.export_text().splitlines()
    row = next(line for line in lines if "anomalib " in line and "padim-fit " in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][2:] == ["1.5 s", "6 s", "0.25", "0.25 to 0.50", "3"]
    assert any("1234 MB" in line and "2469 MB" in line and "0.50" in line for line in lines)
    assert sum("padim-fit: at stride 8" in line for line in lines) == 1


def test_the_json_brings_back_every_figure_and_says_what_it_ran_on(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.json"
    write_json(bench, path)
    assert Bench.model_validate_json(path.read_bytes()) == bench
    found = json.loads(path.read_text())
    assert found["figures"][0]["ratio"] == 0.25
    assert found["processors"] >= 1
    assert {"anomalib", "torch", "openvino"} <= found["libraries"].keys()


def test_a_fresh_process_is_weighed_without_its_parent() -> None:
    import numpy as np

    held = np.ones(40_000_000)
    idle, busy = peak_mb("builtins:len", "abc"), peak_mb("numpy:ones", 25_000_000)
    # 320 MB are held here, 200 MB were filled there.
    assert idle < 150 < held.nbytes / 2**20
    assert 190 < busy < 290


def test_a_call_that_fails_in_its_process_is_named() -> None:
    with pytest.raises(ToolError, match="ZeroDivisionError"):
        peak_mb("operator:truediv", 1, 0)


def test_false_alarms_are_counted_at_the_threshold_that_gives_the_recall() -> None:
    normal, defective = np.array([0.1, 0.5, 0.7, 0.9]), np.array([0.2, 0.6, 0.8, 1.0])
    assert [false_alarms(normal, defective, recall) for recall in (0.5, 0.75, 1.0)] == [0.25, 0.5, 0.75]
    scores = Scores(dict(zip("abcd", normal.tolist(), strict=True)), defective)
    drawn, found = scores.drawn(["a", "a", "unseen"], np.array([3]))
    assert drawn.tolist() == [0.1, 0.1], "a board that the version was trained on is not counted"
    assert false_alarms(drawn, found, 1.0) == 0


@pytest.mark.slow
def test_cycles_are_compared_on_the_boards_that_each_did_not_see(capsys: pytest.CaptureFixture[str]) -> None:
    bad = np.array([0.2, 0.8])
    shared = dict.fromkeys("abcdefgh", 0.1)
    before, after, other = (
        Scores({**shared, name: score}, bad) for name, score in (("i", 0.9), ("i", 0.5), ("j", 0.1))
    )
    compare_cycles([Cycle(before, after, 0.5), Cycle(other, other, 0.5)])
    said = capsys.readouterr().out
    assert "10 normal and 2 defective boards" in said
    # One of nine boards of the first cycle, none of nine of the second.
    assert "at its threshold: false alarms 0.056, 0.000, difference -0.0556 (-0.1" in said


@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
def test_what_is_held_out_of_unlabelled_training_resembles_nothing_in_it(tmp_path: Path) -> None:
    drawn = DrawnSlices(many=10, held_out=4, height=96, width=128)
    folder = draw_slices(tmp_path / "drawn", drawn, defective=0.2)
    images = prepare_folder(folder, tmp_path / "prepared", surface=SURFACE).images
    assert len(images) == 14
    pool, held = split(images, 0.2)
    assert sum(image.label == Label.ANOMALOUS for image in pool) == 2
    assert len(pool) == 10
    assert len(held) == 4
    assert {image.label for image in held} == {Label.NORMAL, Label.ANOMALOUS}
    normal = next(image for image in held if image.label == Label.NORMAL)
    alike = [i.model_copy(update={"group": pool[0].group}) if i == normal else i for i in images]
    assert split(alike, 0.2)[1] == [image for image in held if image != normal]


def test_members_are_chosen_on_the_other_surfaces() -> None:
    # E is best on a and useless on b and c; c alone would never have told.
    single = {"fastflow": 0.9, "efficientad": 0.8}
    good = Figures({**single, "efficientad": 0.97}, {"F": 0.9, "E": 0.97, "F+E": 0.96})
    poor = Figures(single, {"F": 0.9, "E": 0.8, "F+E": 0.85})
    found = {"a": good, "b": poor, "c": poor}
    names = {name: name_combination(choose_without(found, name), list(single)) for name in found}
    assert names == {"a": "F", "b": "F+E", "c": "F+E"}
    assert regret(good, choose_without(found, "a")) == pytest.approx(0.07)
