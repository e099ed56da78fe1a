"""What a DVC remote of somebody else's holds stays inside the project."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from flows.dataset.surface import share
from pipelines.core.errors import ToolError
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings, write_surface
from pipelines.data.versioning.dvc_command import run_dvc
from pipelines.data.versioning.surface_list import write_surface_list

pytestmark = pytest.mark.services

STOLEN = "stolen.png"


@pytest.fixture
def shared(project: Project, tmp_path: Path) -> Project:
    """A project with a surface whose ledger somebody else put on the remote, which is a folder."""
    write_surface(project, "oak", SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER, path="/nowhere")))
    write_surface_list(project)
    project.surface("oak").raw.mkdir(parents=True)
    with (project.root / ".dvc/config").open("a") as config:
        config.write(f"    remote = theirs\n['remote \"theirs\"']\n    url = {tmp_path / 'remote'}\n")
    return project


def put(remote: Path, data: bytes, ending: str = "") -> str:
    """Lay a file where DVC's remote has it, and return its name there."""
    name = hashlib.md5(data, usedforsecurity=False).hexdigest() + ending
    file = remote / "files/md5" / name[:2] / name[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return name


def test_a_listing_that_leads_out_of_the_ledger_is_not_checked_out(shared: Project, tmp_path: Path) -> None:
    file = put(tmp_path / "remote", b"theirs")
    listing = json.dumps([{"md5": file, "relpath": f"../../../../{STOLEN}"}])
    folder = put(tmp_path / "remote", listing.encode(), ".dir")
    pointer = f"outs:\n- md5: {folder}\n  hash: md5\n  path: ledger\n"
    (shared.surface("oak").raw / "ledger.dvc").write_text(pointer)
    with pytest.raises(ToolError, match="leads out of the folder"):
        share(shared, "pull", ["oak"])
    assert not (tmp_path / STOLEN).exists()
    assert not (shared.root / STOLEN).exists()


@pytest.mark.parametrize(
    "text",
    [
        "outs:\n- md5: {file}\n  path: ../../../../stolen.png\n",
        "wdir: ../../../..\nouts:\n- md5: {file}\n  path: stolen.png\n",
        "outs:\n- md5: ../../../../../../{file}\n  path: ledger\n",
        "outs: 5\n",
        "[" * 2000,
    ],
    ids=lambda text: text[:20],
)
def test_a_pointer_that_leads_out_is_not_followed(shared: Project, tmp_path: Path, text: str) -> None:
    file = put(tmp_path / "remote", b"theirs")
    (shared.surface("oak").raw / "ledger.dvc").write_text(text.replace("{file}", file))
    with pytest.raises(ToolError, match="does not point at what lies beside it"):
        share(shared, "pull", ["oak"])
    assert not (tmp_path / STOLEN).exists()


@pytest.mark.parametrize(
    "text",
    ["# ours\nsurfaces: []\n", 'surfaces: ["../../../x"]\n', "surfaces: {", ""],
    ids=["put back by git", "leads out", "damaged", "emptied"],
)
def test_a_list_of_surfaces_that_is_not_theirs_is_written_again_before_dvc_reads_it(shared: Project, text: str) -> None:
    shared.surfaces_index.write_text(text)
    assert "validate@oak" in run_dvc(shared, "stage", "list", "--names-only")
    assert yaml.safe_load(shared.surfaces_index.read_text()) == {"surfaces": ["oak"]}
    assert ("# ours" in shared.surfaces_index.read_text()) == ("# ours" in text)
