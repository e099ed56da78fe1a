"""The notebook of the study: executed, and freed of all that would differ on another machine."""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from flows.study.folder import FOLDER, PROFILE, Profile
from pipelines.core import errors
from pipelines.core.errors import KnotwatchError, ToolError
from pipelines.core.paths import Project
from pipelines.reports.pages import page_environment

NOTEBOOK = "notebooks/wood-slices.ipynb"
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

log = logging.getLogger(__name__)


def read_notebook(file: Path) -> Any:
    """Read a notebook; raise ToolError where Jupyter's libraries are missing or the file is none."""
    nbformat = _jupyter("nbformat")
    try:
        return nbformat.read(file, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise ToolError(f"{file} is no notebook: {error}", hint=f"restore it: git checkout {NOTEBOOK}") from error


def _jupyter(name: str) -> Any:
    """Import one of Jupyter's libraries, which only developers have."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ToolError(f"{name} is not installed", hint="make install, or pip install -e '.[dev]'") from error


def execute(notebook: Any, project: Project, folder: Path | None, profile: Profile, scratch: Path) -> Any:
    """Run all cells in a fresh kernel on a study's folder, or on drawn slices.

    Args:
        notebook: Jupyter's object, from `read_notebook`; its outputs are replaced in place.
        project: Its root is the cells' working folder.
        folder: Study's folder; None draws slices.
        profile: `quick` trains once.
        scratch: Folder for the kernel's sockets and all that the cells leave.

    Returns:
        `notebook`, with outputs.

    Raises:
        KnotwatchError: As a cell raised it.
        ToolError: For any other error of a cell, and where Jupyter's libraries are missing.
    """
    said = _jupyter("nbclient.exceptions")
    client = _jupyter("nbclient").NotebookClient(
        notebook, km=_kernel(scratch), timeout=None, record_timing=False, shutdown_kernel="immediate"
    )
    client.resources = {"metadata": {"path": str(project.root)}}
    client.on_cell_start = _tell_progress(notebook)
    try:
        client.execute(env=_environment(folder, profile, scratch), cleanup_kc=True)
    except said.CellExecutionError as error:
        raise _as_ours(error) from error
    except said.DeadKernelError as error:
        raise ToolError(f"the notebook's kernel ended: {error}", hint="see whether memory ran out") from error
    except AssertionError:
        # nbclient ends the kernel on Ctrl-C by itself, and then finds none where it wants to end it again.
        raise KeyboardInterrupt from None
    return notebook


def _kernel(scratch: Path) -> Any:
    """Make the kernel's manager: over sockets in `scratch`, so that no port is open."""
    manager = _jupyter("jupyter_client").AsyncKernelManager(kernel_name="python3", transport="ipc")
    manager.ip, manager.connection_file = str(scratch / "kernel"), str(scratch / "kernel.json")
    return manager


def _environment(folder: Path | None, profile: Profile, scratch: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != FOLDER}
    chosen = {FOLDER: str(folder.resolve())} if folder else {}
    private = {name: str(scratch) for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    return {**inherited, **private, **chosen, PROFILE: profile.value}


def _tell_progress(notebook: Any) -> Any:
    started = time.monotonic()

    def tell(cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            steps = [number for number, c in enumerate(notebook.cells) if c.cell_type == "code"]
            words = (
                steps.index(cell_index) + 1,
                len(steps),
                _heading(notebook, cell_index),
                time.monotonic() - started,
            )
            log.info("study: step %d of %d, %s (after %.0f s)", *words)

    return tell


def _heading(notebook: Any, index: int) -> str:
    lines = [
        line for cell in notebook.cells[:index] if cell.cell_type == "markdown" for line in cell.source.split("\n")
    ]
    return next((line.lstrip("# ") for line in reversed(lines) if line.startswith("#")), "begin")


def _as_ours(error: Any) -> KnotwatchError:
    """Say again what a cell said: our own errors as they were raised, others with the cell's first line."""
    problem, _, hint = str(error.evalue).partition("\n  What to do: ")
    kind = getattr(errors, str(error.ename), None)
    if isinstance(kind, type) and issubclass(kind, KnotwatchError):
        return kind(problem, hint=hint)
    return ToolError(
        f"a cell of {NOTEBOOK} failed: {error.ename}: {error.evalue}", hint="open it in Jupyter to see where"
    )


def clean(notebook: Any) -> Any:
    """Leave what is the same on every machine: no times, no kernel's particulars, no log lines, cells in order."""
    notebook.metadata = type(notebook)(_METADATA)
    for number, cell in enumerate(_code_cells(notebook), 1):
        cell.metadata = type(notebook)()
        cell.execution_count = number
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    return notebook


def _code_cells(notebook: Any) -> Iterator[Any]:
    return (cell for cell in notebook.cells if cell.cell_type == "code")


def write_notebook(notebook: Any) -> str:
    """Write a notebook as text, the same for the same cells."""
    return str(_jupyter("nbformat").writes(notebook)) + "\n"


def render_page(notebook: Any) -> str:
    """Render cells and outputs with the project's own style; Jupyter's own pages load scripts from elsewhere."""
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True
    )
    body, _ = exporter.from_notebook_node(notebook)
    title = next((line[2:] for c in notebook.cells for line in c.source.split("\n") if line.startswith("# ")), "Study")
    # The cells are ours, and what they show of files and folders was escaped as it was made.
    return page_environment().get_template("study.html").render(title=title, body=Markup(body))  # noqa: S704
