"""The trials of an algorithm's settings, kept by Optuna in a database: the only module that imports it."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from pipelines.core.errors import ToolError
from pipelines.core.paths import database_address
from pipelines.core.progress import heed_interrupt
from pipelines.core.records import Record
from pipelines.models.search import Choice, Search, Space, Whole, texts, write_value
from pipelines.training.tuning.worth import Worth

_STARTUP = 5  # trials that are drawn at random, and that are not stopped early
_WORTH, _TRIED, _SECONDS, _PROBLEM, _RUN = "worth", "settings", "seconds", "problem", "run_id"


class Outcome(StrEnum):
    """What became of a trial."""

    FINISHED = "finished"
    STOPPED = "stopped early"
    FAILED = "failed"


class Tried(Record):
    """A trial that came to an end; number 0 has the settings as they are. `settings` are texts as YAML has them."""

    number: int
    outcome: Outcome
    settings: dict[str, str]
    worth: Worth | None = None
    seconds: float = 0.0
    problem: str = ""


class HopelessError(Exception):
    """Half of the trials before were better at the same step."""


class Trials:
    """What was tried of an algorithm, and what is to be tried next. One process at a time may add to it."""

    def __init__(self, file: Path, name: str, search: Search, seed: int) -> None:
        """Open the trials of that name, or begin them.

        Args:
            file: Database, made where it is missing.
            name: Says all that makes trials comparable: others have another name.
            search: What each setting may be.
            seed: For what is drawn.

        Raises:
            ToolError: If the database cannot be read.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._search = search
        try:
            self._storage = RDBStorage(database_address(file))
            self._study = optuna.create_study(
                storage=self._storage, study_name=name, direction="maximize", load_if_exists=True
            )
            done = len(self.all())
            # Another seed for each call: the same would draw the same again.
            self._study.sampler = optuna.samplers.TPESampler(seed=seed + done, n_startup_trials=_STARTUP)
            self._study.pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP)
            self._end_lost()
        except Exception as error:  # SQLAlchemy's and SQLite's, of many kinds
            raise ToolError(
                f"{file}: the trials cannot be read: {error}", hint="move the file away; trials begin anew"
            ) from error

    def close(self) -> None:
        """Let the database go."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @property
    def run_id(self) -> str:
        """The MLflow run that the trials hang below; empty before there is one."""
        return str(self._study.user_attrs.get(_RUN, ""))

    def keep_run(self, run_id: str) -> None:
        """Remember the MLflow run that the trials hang below."""
        self._study.set_user_attr(_RUN, run_id)

    def all(self) -> list[Tried]:
        """List the trials that came to an end, in their order."""
        ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        found = self._study.get_trials(deepcopy=False, states=ended)
        # Without settings: one that was cut off before it was begun.
        return [_read(number, trial) for number, trial in enumerate(t for t in found if _TRIED in t.user_attrs)]

    def best(self) -> Tried | None:
        """Return the finished trial that is worth most, the first of several; None where none was finished."""
        finished = [t for t in self.all() if t.worth is not None]
        return max(finished, key=lambda t: t.worth.value if t.worth else -math.inf, default=None)

    def keep_as_is(self, settings: Mapping[str, Any], worth: Worth, seconds: float) -> None:
        """Add the settings as they are, which all others are compared with.

        Args:
            settings: By dotted key, those that are searched.
            worth: What they are worth.
            seconds: That this took.
        """
        made = {key: _distribution(space) for key, space in self._search.items()}
        tried = {key: write_value(self._search[key], value) for key, value in settings.items()}
        inner = {key: _as_parameter(self._search[key], value) for key, value in settings.items()}
        # What the search does not reach teaches it nothing.
        known = {key: inner[key] for key in tried if made[key]._contains(made[key].to_internal_repr(inner[key]))}
        told = {_TRIED: tried, _WORTH: worth.model_dump(mode="json"), _SECONDS: seconds}
        self._study.add_trial(
            create_trial(
                value=worth.value, params=known, distributions={key: made[key] for key in known}, user_attrs=told
            )
        )

    @contextmanager
    def one(self) -> Iterator["Open"]:
        """Begin a trial. It ends with the block: finished, stopped early by `HopelessError`, or failed by an error.

        Yields:
            The trial, which is to be told what it is worth. Ctrl-C leaves it open, and the next call tries the same.

        Raises:
            KeyboardInterrupt: Also where a library made another error of Ctrl-C.
        """
        trial = self._study.ask({key: _distribution(space) for key, space in self._search.items()})
        opened = Open(trial, {key: write_value(space, trial.params[key]) for key, space in self._search.items()})
        started, outcome = time.monotonic(), Outcome.FINISHED
        try:
            yield opened
        except HopelessError:
            outcome = Outcome.STOPPED
        except Exception as error:
            heed_interrupt()
            outcome, opened.problem = Outcome.FAILED, str(error)
        opened.end(outcome, time.monotonic() - started)
        self._study.tell(trial, opened.worth.value if opened.worth else None, _STATES[outcome])

    def _end_lost(self) -> None:
        """End what a call that was stopped left open, and try it first."""
        for lost in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(lost.number, state=TrialState.FAIL)
            if lost.params:
                self._study.enqueue_trial(lost.params)


class Open:
    """A trial that goes on, with its settings as YAML has them; `problem` says why it failed."""

    def __init__(self, trial: Trial, settings: dict[str, str]) -> None:
        self._trial, self.settings = trial, settings
        self.worth: Worth | None = None
        self.problem = ""

    def note_step(self, step: int, loss: float) -> None:
        """Take in how training goes.

        Args:
            step: That was taken last.
            loss: What the validation split says, the lower the better.

        Raises:
            HopelessError: If half of the trials before were better at this step.
        """
        if math.isfinite(loss):
            self._trial.report(-loss, step)
            if self._trial.should_prune():
                raise HopelessError(f"half of the trials before were better at step {step}")

    def end(self, outcome: Outcome, seconds: float) -> None:
        """Keep what came of it.

        Args:
            outcome: What became of it; one that finished has been told its worth.
            seconds: That it took.
        """
        if outcome == Outcome.FINISHED:
            if self.worth is None:
                raise AssertionError("a finished trial is worth something")
            self._trial.set_user_attr(_WORTH, self.worth.model_dump(mode="json"))
        else:
            self.worth = None
        self._trial.set_user_attr(_PROBLEM, self.problem[:500])
        self._trial.set_user_attr(_SECONDS, seconds)
        self._trial.set_user_attr(_TRIED, self.settings)


_STATES = {
    Outcome.FINISHED: TrialState.COMPLETE,
    Outcome.STOPPED: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
}


def _read(number: int, trial: FrozenTrial) -> Tried:
    told, names = trial.user_attrs, {TrialState.COMPLETE: Outcome.FINISHED, TrialState.PRUNED: Outcome.STOPPED}
    return Tried(
        number=number,
        outcome=names.get(trial.state, Outcome.FAILED),
        settings=told[_TRIED],
        worth=told.get(_WORTH),
        seconds=told.get(_SECONDS, 0.0),
        problem=told.get(_PROBLEM, ""),
    )


def _distribution(space: Space) -> BaseDistribution:
    if isinstance(space, Choice):
        return CategoricalDistribution(texts(space))
    if isinstance(space, Whole):
        return IntDistribution(space.low, space.high, log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def _as_parameter(space: Space, value: Any) -> Any:
    return json.dumps(value) if isinstance(space, Choice) else value
