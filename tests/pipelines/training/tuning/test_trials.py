"""Which settings are tried next, what is kept of a trial, and which are given up."""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipelines.core.errors import ToolError
from pipelines.models.search import Choice, Real, Whole
from pipelines.training.choosing.figures import LABELLED
from pipelines.training.tuning.trials import Outcome, Trials
from pipelines.training.tuning.worth import Worth, weigh

SEARCH = {
    "features": Whole(low=1, high=99),
    "score.ridge": Real(low=0.01, high=1, log=True),
    "layers": Choice(values=([1], [1, 2])),
}
AS_IS = {"features": 40, "score.ridge": 0.3, "layers": [1]}


def worth(value: float) -> Worth:
    return Worth(image_auroc=value, aupro=None, told_by="the test")


@contextmanager
def trials(folder: Path, name: str = "padim") -> Iterator[Trials]:
    with closing(Trials(folder / "tuning" / "oak.db", name, SEARCH, 0)) as opened:
        yield opened


def test_trials_of_a_later_call_go_on_with_those_before(tmp_path: Path) -> None:
    with trials(tmp_path) as opened:
        opened.keep_as_is(AS_IS, worth(0.8), 1.0)
        opened.keep_run("abc")
        for value in (0.7, 0.9):
            with opened.one() as one:
                one.worth = worth(value)
    with trials(tmp_path) as opened, opened.one() as one:
        one.worth = worth(0.85)
    with trials(tmp_path) as opened:
        found, best = opened.all(), opened.best()
        assert [(t.number, t.worth and t.worth.value, t.outcome) for t in found] == [
            (number, value, Outcome.FINISHED) for number, value in enumerate((0.8, 0.7, 0.9, 0.85))
        ]
        assert opened.run_id == "abc"
        assert best == found[2]
        assert found[0].settings == {"features": "40", "score.ridge": "0.3", "layers": "[1]"}
        assert len({str(t.settings) for t in found}) == 4, "a later call draws others"
    with trials(tmp_path, "of other data") as opened:
        assert opened.all() == []


def test_of_equal_trials_the_settings_as_they_are_stay(tmp_path: Path) -> None:
    with trials(tmp_path) as opened:
        opened.keep_as_is({**AS_IS, "features": 5000}, worth(0.8), 1.0)  # what is searched does not reach it
        with opened.one() as one:
            one.worth = worth(0.8)
        best = opened.best()
        assert (best and best.number) == 0


@contextmanager
def cut_off(opened: Trials, settings: dict[str, str]) -> Iterator[None]:
    with opened.one() as one:
        settings.update(one.settings)
        yield


def test_what_was_cut_off_is_tried_first_and_counts_once(tmp_path: Path) -> None:
    with trials(tmp_path) as opened:
        opened.keep_as_is(AS_IS, worth(0.8), 1.0)
        lost: dict[str, str] = {}
        with pytest.raises(KeyboardInterrupt), cut_off(opened, lost):
            raise KeyboardInterrupt
    with trials(tmp_path) as opened:
        assert len(opened.all()) == 1
        with opened.one() as one:
            assert one.settings == lost
            one.worth = worth(0.9)
        assert [t.settings for t in opened.all()[1:]] == [lost]


def test_a_trial_that_fails_is_kept_with_its_reason_and_the_next_comes(tmp_path: Path) -> None:
    with trials(tmp_path) as opened:
        with opened.one():
            raise ToolError("no such network", hint="none")
        with opened.one() as one:
            one.worth = worth(0.5)
        first, second = opened.all()
        assert (first.outcome, first.worth) == (Outcome.FAILED, None)
        assert "no such network" in first.problem
        assert opened.best() == second


def test_ctrl_c_that_a_library_made_another_error_of_ends_all(tmp_path: Path, pressed: None) -> None:
    with trials(tmp_path) as opened:
        with pytest.raises(KeyboardInterrupt), opened.one():
            raise ValueError("the engine was stopped")
        assert opened.all() == []


def test_a_trial_that_half_of_the_others_were_better_than_is_given_up(tmp_path: Path) -> None:
    with trials(tmp_path) as opened:
        for loss in (1.0, 1.1, 1.2, 1.3, 1.4):
            with opened.one() as one:
                for step in (25, 50):
                    one.note_step(step, loss / step)
                one.worth = worth(0.5)
        steps = []
        for loss in (1.1, 9.0):
            with opened.one() as one:
                for step in (25, 50):
                    one.note_step(step, loss / step)
                    one.note_step(step + 1, math.nan)  # says nothing
                    steps.append(step)
                one.worth = worth(0.5)
        good, bad = opened.all()[-2:]
        assert (good.outcome, bad.outcome) == (Outcome.FINISHED, Outcome.STOPPED)
        assert (bad.worth, steps) == (None, [25, 50])


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tuning" / "oak.db"
    file.parent.mkdir()
    file.write_bytes(b"no database at all, but long enough to be taken for one" * 50)
    with pytest.raises(ToolError, match=r"oak\.db"), trials(tmp_path):
        pass


def test_labelled_anomalies_count_where_there_are_enough_as_in_a_proposal() -> None:
    synthetic = {"image_auroc": 0.9, "aupro": 0.4}
    labelled = {"labelled_image_auroc": 0.7, "labelled_aupro": 0.2}
    few, enough = weigh({**synthetic, **labelled, LABELLED: 4.0}), weigh({**synthetic, **labelled, LABELLED: 5.0})
    assert few is not None
    assert enough is not None
    assert (few.value, few.told_by) == (pytest.approx(0.904), "synthetic anomalies of the validation split")
    assert (enough.value, enough.told_by) == (pytest.approx(0.702), "5 labelled anomalies of the validation split")
    assert weigh({}) is None
