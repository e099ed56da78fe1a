"""Training on unlabelled slices, against outlines drawn by hand: `python -m benchmarks.slices [FOLDER]`.

FOLDER holds raw/ and annotations.json; without it, slices of that size are drawn, for choices to be made on. Training
sees no outline; figures against real ones were looked at while the views were tried: that choice is not free of them.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_command
from flows.study.drawn import DrawnSize, write_drawn_study
from flows.study.figures import VersionSummary, compare, figure_row, tabulate_figures
from flows.study.folder import Study, open_study
from flows.study.steps import Prepared, prepare_folder, scan, train_model
from pipelines.core.errors import SourceError
from pipelines.training.run_settings import RunSettings

show = Console(width=150)


def slices(
    folder: Annotated[Path | None, typer.Argument(help="Holds raw/ and annotations.json; without: drawn.")] = None,
    algorithm: Annotated[str, typer.Option(help="What to train.")] = "padim",
    leave_out: Annotated[bool, typer.Option(help="Also train once without each outlined image.")] = True,
    precision: Annotated[
        str, typer.Option(help="The exported network's; auto or one that it is to compute in.")
    ] = "auto",
) -> None:
    """Train on all slices without labels and find the outlined defects; then again on a slice that was left out."""
    settings = RunSettings.model_validate({"export": {"precision": precision}})
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch) / "drawn"
            write_drawn_study(folder, DrawnSize(height=1952, width=2592, crops=0))
        study = open_study(folder, Path(scratch))
        prepared = prepare_folder(study.raw, study.scratch / "prepared")
        outlined = [image.path for image in prepared.images if image.path in study.outlines]
        if not outlined:
            raise SourceError(f"{folder} has no outlines of usable images", hint="add them in annotations.json")
        _report("trained on all", list(_look(study, prepared, None, outlined, algorithm, settings)))
        if not leave_out:
            return
        apart = [one for name in outlined for one in _look(study, prepared, name, [name], algorithm, settings)]
        _report("left out", apart)


def _look(
    study: Study,
    prepared: Prepared,
    left_out: str | None,
    names: Sequence[str],
    algorithm: str,
    settings: RunSettings,
) -> Iterator[VersionSummary]:
    images = [image for image in prepared.images if image.path != left_out]
    model = train_model(prepared, images, study.scratch / "model", algorithm, settings)
    trained = model.trained
    show.print(f"{algorithm}: {trained.notes}, {model.seconds:.0f} s, peak {trained.peak_rss_mb:.0f} MB")
    for one in scan(model, prepared, names):
        show.print(f"{one.name}: {one.seconds:.1f} s, {len(one.scan.defects)} regions", highlight=False)
        for compared in compare([one], study.outlines):
            show.print(figure_row(compared), highlight=False)
            yield compared


def _report(title: str, compared: Sequence[VersionSummary]) -> None:
    figures = tabulate_figures(compared)
    table = Table(*figures.columns, title=title)
    for row in figures.rows:
        table.add_row(*row)
    show.print(table)


if __name__ == "__main__":
    run_command(slices)
