"""How well types are named: `python -m benchmarks.naming crops FOLDER`, or `masks FOLDER` for a vsb data set."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.small_network import SIDE, chosen, name_left_out
from flows.study.naming import ROUNDS, name_held_out
from pipelines.core.records import NORMAL, TYPES, Layout
from pipelines.core.results import ValidationReport
from pipelines.core.surface_settings import RegionSettings, SplitSettings, ValidationSettings
from pipelines.core.wording import interval_in_words
from pipelines.data.layouts import read_source
from pipelines.data.manifest import assign_groups, assign_splits, measure_rows
from pipelines.data.prepared import read_index
from pipelines.data.preprocess import preprocess
from pipelines.data.type_examples import prepare_types, take_in_types
from pipelines.metrics.types import TypeIntervals, count_confusion, type_differences, type_intervals
from pipelines.training.types.examples import read_examples

_MEGAPIXELS = 200.0
_COUNTED = 20  # regions that a type must have for its F1 to be in the mean

app = typer.Typer(help=__doc__)
show = Console(width=150)


@app.command()
def crops(
    folder: Annotated[Path, typer.Argument(help="Folders of crops, one a type.")],
    network: Annotated[
        bool, typer.Option(help="Also train the small network on each fold: 45 folds take minutes each time.")
    ] = True,
    trainings: Annotated[
        int,
        typer.Option(min=1, help="How often the small network is trained on each fold, each time from another seed."),
    ] = 3,
) -> None:
    """Leave one crop out at a time: the head against the small network, on the same folds.

    What the small network names differs from seed to seed: each crop counts once for each of its trainings, and all of
    a crop's namings are drawn together.
    """
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch)
        take_in_types(folder, prepared / "kept", _MEGAPIXELS)
        prepare_types(prepared / "kept", prepared / TYPES, _MEGAPIXELS)
        examples = read_examples(prepared, [], 0).kept
        started = time.monotonic()
        types, groups = [e.type for e in examples], [e.group for e in examples]
        ours = name_held_out(examples, prepared / "network").named
        seconds = time.monotonic() - started
        files = [prepared / e.group for e in examples]
        small = np.stack([cv2.resize(_read(f), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in files])
    _report("head", type_intervals(types, ours, groups, ROUNDS, 0), seconds)
    _tabulate(types, ours)
    if not network:
        return
    torch.set_num_threads(1)
    started = time.monotonic()
    names, labels = chosen(types)
    theirs = []
    for seed in range(trainings):
        theirs += [names[name_left_out(small, labels, left, seed)] for left in range(len(types))]
        once = type_intervals(types, theirs[-len(types) :], groups, ROUNDS, 0)
        _report(f"small network, seed {seed}", once, time.monotonic() - started)
    types, ours, groups = types * trainings, [*ours] * trainings, groups * trainings
    _report("small network", type_intervals(types, theirs, groups, ROUNDS, 0), time.monotonic() - started)
    _tabulate(types, theirs)
    _report("head - small network", type_differences(types, ours, theirs, groups, ROUNDS, 0), 0)


@app.command()
def masks(folder: Annotated[Path, typer.Argument(help="A data set of layout vsb.")]) -> None:
    """Name the regions of typed masks, held out by image, without and with normal wood among them."""
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch)
        table = measure_rows(read_source(Layout.VSB, folder), folder, ValidationSettings())
        table = assign_splits(assign_groups(table, ValidationSettings().near_duplicate_bits), SplitSettings())
        verdict = ValidationReport(accepted=True, images=len(table), usable=len(table))
        preprocess(table, verdict, folder, RegionSettings(), _MEGAPIXELS, prepared)
        examples = read_examples(prepared, read_index(prepared), 0).kept
        defects = [e for e in examples if e.type != NORMAL]
        for label, kept in (("regions of masks", defects), ("with normal wood", examples)):
            started = time.monotonic()
            types, groups = [e.type for e in kept], [e.group for e in kept]
            named = name_held_out(kept, prepared / "network").named
            figures = type_intervals(types, named, groups, ROUNDS, 0, least=_COUNTED)
            _report(f"{label}: {len(kept)} of {len(set(groups))} groups", figures, time.monotonic() - started)
            _tabulate(types, named)


def _read(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def _report(label: str, found: TypeIntervals, seconds: float) -> None:
    accuracy, f1 = (interval_in_words(figure) for figure in found)
    show.print(
        f"{label}: accuracy {accuracy}, macro-F1 {f1}" + (f", {seconds:.0f} s" if seconds else ""), highlight=False
    )


def _tabulate(types: Sequence[str], named: Sequence[str]) -> None:
    names = sorted(set(types))
    table = Table("is, named", *names)
    for name, row in zip(names, count_confusion(types, named, names).tolist(), strict=True):
        table.add_row(name, *map(str, row))
    show.print(table)


if __name__ == "__main__":
    app()
