"""Render the study of wood slices: `python -m flows.study FOLDER`."""

import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from flows.study.folder import Profile, open_study
from flows.study.notebook import NOTEBOOK, clean, execute, read_notebook, render_page, write_notebook
from pipelines.core.errors import CallError, KnotwatchError
from pipelines.core.files import write_whole
from pipelines.core.paths import find_project

log = logging.getLogger("flows.study")


def main(
    data: Annotated[
        Path | None,
        typer.Argument(help="Holds raw/, and annotations.json and crops/ if there are some. Without: drawn slices."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page to write; by default data/reports/study/wood-slices.html.")
    ] = None,
    profile: Annotated[
        Profile, typer.Option(help="quick trains once, full also leaves out and compares.")
    ] = Profile.FULL,
    notebook: Annotated[
        bool, typer.Option("--notebook", help=f"Write {NOTEBOOK} again instead, on drawn slices.")
    ] = False,
) -> None:
    """Run the study's notebook from top to bottom and write it as one HTML page.

    Example: python -m flows.study ../shared/data/wood-slices --out slices.html
    """
    started = time.monotonic()
    project = find_project()
    if notebook and data is not None:
        raise CallError("the notebook's own outputs are of drawn slices only", hint=f"leave {data} away, or --notebook")
    target = project.root / NOTEBOOK if notebook else out or project.root / "data/reports/study/wood-slices.html"
    try:
        with tempfile.TemporaryDirectory(prefix="knotwatch-study-") as scratch:
            if data is not None:
                log.info("study: %s", open_study(data, Path(scratch)).describe())
            cells = clean(execute(read_notebook(project.root / NOTEBOOK), project, data, profile, Path(scratch)))
    except KeyboardInterrupt:
        log.info("study: stopped; nothing is left half written")
        raise typer.Exit(130) from None
    write_whole(target, write_notebook(cells) if notebook else render_page(cells))
    log.info("study: written to %s, %.0f s", target, time.monotonic() - started)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    try:
        typer.run(main)
    except KnotwatchError as error:
        print(f"knotwatch: {error}", file=sys.stderr)  # noqa: T201 - a command's own word
        sys.exit(error.exit_code)
