"""Training by gradient steps with anomalib's engine.

A budget of steps, a check of the validation split, the best kept.
"""

import logging
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from pipelines.core.errors import ModelError
from pipelines.core.progress import Pace, note_step
from pipelines.models.engine.device import has_bf16
from pipelines.models.engine.lightning import run_engine
from pipelines.models.settings import SteppedSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stopped:
    """Where training ended: the step that was kept, its value on the validation split, and how many steps were
    taken. `curves` are the training loss and the validation split's value by step.
    """

    best_step: int
    best_value: float
    steps: int
    curves: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)

    def in_words(self) -> str:
        return f"step {self.best_step} of {self.steps} was the best on the validation split ({self.best_value:.4g})"


def train_in_steps(
    module: nn.Module,
    rows: int,
    settings: SteppedSettings,
    seed: int,
    validate: Callable[[], float],
    *,
    warm: bool = False,
) -> Stopped:
    """Train an anomalib module by steps, and give it back its best weights.

    Args:
        module: Trained in place; its `training_step` takes a list of row numbers.
        rows: How many rows there are, at least 1. They come in random order, each once an epoch.
        settings: Batch in rows, the budget of steps, how often it is checked, and how many checks may be no better.
        seed: For the order of rows.
        validate: Returns what should be as low as possible; called in eval mode without gradients. A value that is not
            finite ends training at the best before.
        warm: Whether the weights at the start count as step 0, which is kept where no other is better.

    Returns:
        Which step was kept, its value, and how many steps were taken.

    Raises:
        ModelError: If no check gave a finite value.
        KeyboardInterrupt: On Ctrl-C.
    """
    watch = _KeepBest(module, settings, validate, warm)
    loader = DataLoader(_Rows(rows, settings.batch, seed), batch_size=None)
    run_engine(
        module,
        loader,
        callbacks=[watch],
        max_steps=settings.max_steps,
        precision="bf16-mixed" if has_bf16() else "32-true",
    )
    watch.restore()
    return watch.told()


class _Rows(IterableDataset[list[int]]):
    """Batches of row numbers without end, shuffled anew in every pass."""

    def __init__(self, rows: int, batch: int, seed: int) -> None:
        self._rows, self._batch, self._seed = rows, batch, seed

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng(self._seed)
        waiting: list[int] = []
        while True:
            while len(waiting) < self._batch:
                waiting.extend(random.permutation(self._rows).tolist())
            yield [waiting.pop(0) for _ in range(self._batch)]


class _KeepBest(Callback):
    """Look every so many steps, keep the best weights in memory, and stop where nothing gets better."""

    def __init__(self, module: nn.Module, settings: SteppedSettings, validate: Callable[[], float], warm: bool) -> None:
        self._module, self._settings, self._validate, self._warm = module, settings, validate, warm
        self._best: dict[str, torch.Tensor] = {}
        self._since = 0
        self._pace = Pace("train, steps", settings.max_steps)
        self._losses: list[torch.Tensor] = []  # of the steps since the last look
        self._curves: dict[str, list[tuple[int, float]]] = {"training loss": [], "validation": []}
        self.stopped = Stopped(0, math.inf, 0)

    def on_train_start(self, *_: Any) -> None:
        if self._warm:
            self._take(0, self._measure())

    def on_train_batch_end(self, trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        step = int(trainer.global_step)
        self._losses.append(outputs["loss"].detach())
        # On a terminal Lightning has a bar of its own.
        if not sys.stderr.isatty():
            self._pace.note(step)
        if step % self._settings.check_every and step < self._settings.max_steps:
            return
        value = self._measure()
        self._take(step, value)
        if self._since >= self._settings.patience or not math.isfinite(value):
            trainer.should_stop = True

    def _measure(self) -> float:
        self._module.eval()
        with torch.no_grad():
            value = self._validate()
        self._module.train()
        return value

    def _take(self, step: int, value: float) -> None:
        log.debug("step %d: %.5g on the validation split", step, value)
        if self._losses:
            self._curves["training loss"].append((step, float(torch.stack(self._losses).float().mean())))
            self._losses.clear()
        self._curves["validation"].append((step, value))
        if value < self.stopped.best_value:
            self._best = {n: p.detach().clone() for n, p in self._module.named_parameters() if p.requires_grad}
            self.stopped = Stopped(step, value, step)
            self._since = 0
        else:
            self.stopped = Stopped(self.stopped.best_step, self.stopped.best_value, step)
            self._since += 1
        if step:
            note_step(step, value)

    def told(self) -> Stopped:
        """Return where training ended, with what is finite of the values on the way."""
        finite = {n: tuple((s, v) for s, v in points if math.isfinite(v)) for n, points in self._curves.items()}
        return replace(self.stopped, curves=finite)

    def restore(self) -> None:
        """Put the best weights back; raise ModelError where there are none."""
        if not self._best:
            raise ModelError(
                f"training gave no finite value in {self.stopped.steps} steps",
                hint="lower the algorithm's learning_rate, or check_every so that it is checked earlier",
            )
        parameters = dict(self._module.named_parameters())
        with torch.no_grad():
            for name, value in self._best.items():
                parameters[name].copy_(value)
