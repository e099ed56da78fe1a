"""A project that version 0.1.0 made, brought up to date as `git pull` does: today's code over yesterday's data.

Its surface `drawn` has 30 boards, a full DVC cache, version 1 (PaDiM, the champion), version 2 (FastFlow), and a
schedule in Prefect's database. The files beside it are what 0.1.0 said of six boards.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

from pipelines.core.paths import Project
from tests.conftest import ROOT, SHIPPED, make_project

KEPT = ROOT / "tests/data/store-0.1.0"
SURFACE = "drawn"


def upgrade_old(folder: Path) -> Project:
    """Unpack the project; what a clone ships today stays, but for the list of surfaces, which is the user's."""
    project = make_project(folder)
    shipped = {name for name in SHIPPED if name.endswith(".yaml")} - {"data/surfaces/index.yaml"}
    with tarfile.open(KEPT / "project.tar.xz") as archive:
        members = [m for m in archive.getmembers() if m.name.removeprefix("./") not in shipped]
        archive.extractall(folder, members, filter="data")
    return project


def old_answer(name: str) -> Any:
    """What 0.1.0 said, from `scores` (by version and board: score, map's mean, peak, defects) or `inspect`."""
    return json.loads((KEPT / f"{name}.json").read_text())
