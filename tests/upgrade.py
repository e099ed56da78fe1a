"""`python -m tests.upgrade`: MLflow, Prefect and DVC one minor version up and down from the pins; what breaks.

Each is tried in a throw-away copy of this environment, on a copy of a project that the pins made, and on one of 0.1.0.
Needs a package index, and 100 MB for each copy: its files are hard links, which pip replaces and does not change.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from pipelines.core.paths import Project
from tests.conftest import ROOT, run_knotwatch
from tests.faults.invariants import find_faults, fingerprint
from tests.faults.project import COMMANDS, SURFACE, copy_base, make_base, shelf
from tests.old_store import old_answer, upgrade_old

TOOLS = ("mlflow", "prefect", "dvc")
# What runs in the copy of the environment.
_STEPS = """
import json, sys
from pathlib import Path
from pipelines.core.paths import Project
from tests.upgrade import run_steps
print(json.dumps(run_steps(Project(Path(sys.argv[1])), Path(sys.argv[2]))))
"""
_HIGHEST = 1e-6  # by which a score of 0.1.0 may differ


class Tried(NamedTuple):
    """One version of a tool: what works, and of what does not the last words."""

    tool: str
    version: str
    steps: dict[str, str]
    seconds: float


def choose_neighbours(pinned: str, known: list[str]) -> list[str]:
    """Choose the newest version of the minor one below and of the minor one above, where there are any.

    >>> choose_neighbours("3.8.1", ["3.10.0", "3.9.1", "3.9.0", "3.8.1", "3.7.5", "3.7.4", "2.9.0"])
    ['3.7.5', '3.9.1']
    """

    def parts(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in version.split("."))

    plain = [version for version in known if re.fullmatch(r"\d+\.\d+\.\d+", version)]
    major, minor, _ = parts(pinned)
    found = [
        max((v for v in plain if parts(v)[:2] == (major, near)), key=parts, default="")
        for near in (minor - 1, minor + 1)
    ]
    return [version for version in found if version]


def list_versions(tool: str) -> list[str]:
    """Ask the package index which versions of a tool there are."""
    command = [sys.executable, "-m", "pip", "index", "versions", tool]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r"Available versions: (.*)", said)
    return found[1].split(", ") if found else []


def pinned(tool: str) -> str:
    """Return the version of a tool that constraints.txt pins."""
    found = re.search(rf"^{tool}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"constraints.txt pins no {tool}")
    return found[1]


def copy_environment(folder: Path) -> Path:
    """Copy this environment by hard links, and return the copy's Python."""
    own = Path(sys.prefix)
    shutil.copytree(own, folder, copy_function=os.link, symlinks=True)
    for script in (folder / "bin").iterdir():
        content = script.read_bytes() if script.is_file() and not script.is_symlink() else b""
        if content.startswith(b"#!"):
            mode = script.stat().st_mode
            # Removed first: written in place, the original would change with it.
            script.unlink()
            script.write_bytes(content.replace(str(own).encode(), str(folder).encode()))
            script.chmod(mode)
    return folder / "bin" / "python"


def _run(python: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([python, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)


def try_version(tool: str, version: str, base: Project, place: Path) -> Tried:
    """Install a version in a copy of this environment and run the steps there; then see whether the pins can go on."""
    began = time.monotonic()
    folder = place / f"{tool}-{version}"
    folder.mkdir()
    python = copy_environment(folder / "environment")
    installed = _run(python, "-m", "pip", "install", "--quiet", f"{tool}=={version}")
    if installed.returncode:
        steps = {"installed": _last_words(installed.stderr)}
    else:
        project = copy_base(base, folder / "project")
        checked = _run(python, "-c", _STEPS, str(project.root), str(folder / "old"))
        steps = (
            json.loads(checked.stdout.splitlines()[-1]) if checked.stdout else {"started": _last_words(checked.stderr)}
        )
        steps["the pins go on from there"] = _attempt(lambda: _go_on(project))
    shutil.rmtree(folder, ignore_errors=True)
    return Tried(tool, version, steps, time.monotonic() - began)


def _attempt(act: Callable[[], object]) -> str:
    """Return an empty text where something works, else the last words of its failure."""
    try:
        act()
    except Exception as error:
        return _last_words(str(error))
    return ""


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("Error:") or "What to do" in line]
    return " ".join(told or lines[-1:])[:300] or "failed without a word"


def run_steps(project: Project, old: Path) -> dict[str, str]:
    """Run what tells whether the tools still fit, in this environment.

    Args:
        project: A copy of one that the pins made.
        old: Where a project of 0.1.0 is laid out.

    Returns:
        By step an empty text, or what it failed with.
    """
    root, sources = project.root, fingerprint(shelf(project))
    retrain = COMMANDS["retrain"].words

    def update() -> None:
        COMMANDS["data update"].before(project)
        run_knotwatch(root, *COMMANDS["data update"].words)
        status = subprocess.run([sys.executable, "-m", "dvc", "status", "--quiet"], cwd=root, check=False).returncode
        assert status == 0, "`dvc status` finds changes after an update"

    def check() -> None:
        assert not (faults := find_faults(project, sources)), "; ".join(faults)

    steps: dict[str, Callable[[], object]] = {
        "a store of 0.1.0": lambda: _open_old(old),
        "a store of the pins": lambda: run_knotwatch(root, "models", SURFACE),
        "inspect": lambda: run_knotwatch(root, "inspect", SURFACE, str(shelf(project) / "good"), "--no-pictures"),
        "retrain": lambda: run_knotwatch(root, *retrain),
        "retrain, unchanged": lambda: _unchanged(root, retrain),
        "promote": lambda: run_knotwatch(root, "promote", SURFACE, "--version", "1", "--force", "--reason", "tried"),
        "rollback": lambda: run_knotwatch(root, "rollback", SURFACE),
        "schedule": lambda: run_knotwatch(root, "schedule", SURFACE, "--cron", "0 3 * * 1"),
        "watch": lambda: run_knotwatch(root, "watch", SURFACE, "--once"),
        "nothing lost": check,
        "data update, dvc status": update,
    }
    return {name: _attempt(act) for name, act in steps.items()}


def _unchanged(root: Path, words: tuple[str, ...]) -> None:
    assert run_knotwatch(root, *words, "--json").json["skipped"], "an unchanged retrain trains again"


def _open_old(folder: Path) -> None:
    project = upgrade_old(folder)
    before = old_answer("inspect")
    done = run_knotwatch(project.root, "inspect", "drawn", *(i["path"] for i in before["images"]), "--json").json
    for now, then in zip(done["images"], before["images"], strict=True):
        assert abs(now["score"] - then["score"]) < _HIGHEST, f"{now['score']} instead of {then['score']}"


def _go_on(project: Project) -> None:
    for words in (("models", SURFACE), ("schedule",), ("watch", SURFACE, "--once")):
        run_knotwatch(project.root, *words)


def as_table(tried: list[Tried]) -> str:
    """Write what came of all versions as a Markdown table."""
    lines = ["| tool | pinned | tried | works | breaks |", "| --- | --- | --- | --- | --- |"]
    for tool, version, steps, _ in tried:
        works = [name for name, problem in steps.items() if not problem]
        broken = [f"{name}: {problem.replace('|', '/')}" for name, problem in steps.items() if problem]
        lines.append(
            f"| {tool} | {pinned(tool)} | {version} | {len(works)} of {len(steps)} | {'; '.join(broken) or 'nothing'} |"
        )
    return "\n".join(lines)


def main(only: Annotated[list[str] | None, typer.Option(help="TOOL==VERSION, instead of all.")] = None) -> None:
    """Try each tool one minor version up and down, and print a table of what breaks."""
    wanted = [tuple(word.split("==")) for word in only or []] or [
        (tool, version) for tool in TOOLS for version in choose_neighbours(pinned(tool), list_versions(tool))
    ]
    tried = []
    with tempfile.TemporaryDirectory(prefix="knotwatch-upgrade-") as place:
        base = make_base(Path(place) / "base")
        for tool, version in wanted:
            tried.append(try_version(tool, version, base, Path(place)))
            typer.echo(f"{as_table(tried[-1:])}\n({tried[-1].seconds:.0f} s)\n")
    typer.echo(as_table(tried))


if __name__ == "__main__":
    typer.run(main)
