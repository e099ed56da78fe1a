"""Where a run's page lies: a folder with a name that people recognise, and a note in it of which run it is."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pipelines.core.files import write_whole
from pipelines.core.records import Record

PAGE = "index.html"
EXAMPLE = "example.jpg"  # one marked image, which stands for the run's version
_NOTE = "run.json"
_NAMED = re.compile(r"\d{4}-\d\d-\d\d-\d{4}-.+")
# Folders of before they had names: MLflow's id of the run.
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_LONGEST = 60  # characters of a name after its time


class RunNote(Record):
    """What a folder of reports is of. `parent` is the run that this one hangs below, `outcome` how it ended in a line.

    `experiment` and `flow_run` are what MLflow's and Prefect's pages call it by; empty where there is none. `again` is
    the command that goes on with an unfinished run; empty once the run has its own page.
    """

    run_id: str
    title: str
    started: datetime
    parent: str = ""
    experiment: str = ""
    flow_run: str = ""
    outcome: str = ""
    again: str = ""

    @property
    def is_unfinished(self) -> bool:
        """Say whether the run has no page of its own: it is under way, or `outcome` says how it was ended before."""
        return bool(self.again)


class Noted(NamedTuple):
    """A folder of reports and its note."""

    folder: Path
    note: RunNote


def name_folder(title: str, started: datetime) -> str:
    """Name a folder by time and kind; whatever is no letter or digit becomes `-`, so that no title leads elsewhere.

    Args:
        title: Of the run, as MLflow has it.
        started: When it began, UTC.

    Returns:
        A name without a separator, of bounded length.

    >>> name_folder("trial ../Less", datetime(2026, 11, 30, 9, 15))
    '2026-11-30-0915-trial-less'
    """
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:_LONGEST].strip("-")
    return f"{started:%Y-%m-%d-%H%M}-{words or 'run'}"


def claim_folder(reports: Path, note: RunNote) -> Path:
    """Return the folder of a run's page, made with its note where the run has none; of one name, the later gets `-2`.

    Args:
        reports: Folder of the surface's reports, made where it is missing.
        note: Of the run; an existing folder keeps the note that it has.

    Returns:
        A folder that no other run has.
    """
    known = find_folder(reports, note.run_id)
    if known is not None:
        return known
    name = name_folder(note.title, note.started)
    reports.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = reports / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            break
    write_note(folder, note)
    return folder


def write_note(folder: Path, note: RunNote) -> None:
    """Write the note of a folder of reports.

    Args:
        folder: Exists.
        note: An earlier one is replaced.
    """
    write_whole(folder / _NOTE, note.model_dump_json(indent=1) + "\n")


def read_note(folder: Path) -> RunNote | None:
    """Read the note of a folder; one that somebody changed is as good as none."""
    try:
        return RunNote.model_validate_json((folder / _NOTE).read_bytes())
    except (OSError, ValueError):
        return None


def find_folder(reports: Path, run_id: str) -> Path | None:
    """Find the folder of a run's page, also one of before folders had names.

    Args:
        reports: Folder of the surface's reports; it need not be there.
        run_id: MLflow's, which may be somebody else's server: nothing outside of `reports` is looked at.

    Returns:
        The folder, or None.
    """
    if not run_id:
        return None
    old = reports / run_id
    if re.fullmatch(r"[\w-]+", run_id) and (old / PAGE).is_file():
        return old
    return next((found.folder for found in list_runs(reports) if found.note.run_id == run_id), None)


def list_runs(reports: Path) -> Iterator[Noted]:
    """Yield the folders that have a note, the latest first, each read when it is asked for."""
    for folder in sorted(_folders(reports, _NAMED), key=_age, reverse=True):
        note = read_note(folder)
        if note is not None:
            yield Noted(folder, note)


def list_unnamed(reports: Path) -> list[Path]:
    """List the folders of before they had names, the latest first."""
    found = [folder for folder in _folders(reports, _RUN_ID) if (folder / PAGE).is_file()]
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def href(start: Path, page: Path) -> str:
    """Write the link from a page in the folder `start` to another page below the same reports.

    Args:
        start: Folder of the page that links.
        page: File that is linked to.

    Returns:
        A relative address, quoted.

    >>> href(Path("data/reports/oak/inspect"), Path("data/reports/oak/a b/index.html"))
    '../a%20b/index.html'
    """
    return quote(Path(os.path.relpath(page, start)).as_posix())


def _folders(reports: Path, names: re.Pattern[str]) -> list[Path]:
    if not reports.is_dir():
        return []
    return [path for path in reports.iterdir() if names.fullmatch(path.name) and path.is_dir()]


def _age(folder: Path) -> tuple[str, int, str]:
    """Sort by the minute, then the second of one name after the first."""
    again = re.search(r"-(\d+)$", folder.name)
    return folder.name[:15], int(again[1]) if again else 1, folder.name
