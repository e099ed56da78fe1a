"""Data to and from the DVC remote: what comes may be somebody else's, and stays inside the project."""

from collections.abc import Sequence

from pipelines.core.paths import Project
from pipelines.data.versioning.dvc_command import run_dvc
from pipelines.data.versioning.dvc_files import DvcFile, read_stage
from pipelines.data.versioning.versions import lock_entries, pointed, refuse_damaged, stage_names


def pull(project: Project, surfaces: Sequence[str]) -> str:
    """Fetch surfaces' files from the DVC remote and bring them, once it is known that all stay inside the project.

    Args:
        project: Its DVC files say what is fetched, also where somebody else wrote them.
        surfaces: Names, at least one: without, DVC takes all that it knows, and nothing is looked at. The caller holds
            their locks.

    Returns:
        What DVC printed.

    Raises:
        ToolError: If what was fetched, or points at it, names a file outside (nothing is brought then), or DVC fails.
    """
    targets, outs = shared(project, surfaces)
    said = run_dvc(project, "fetch", *targets)
    refuse_damaged(project, outs)
    return said + run_dvc(project, "checkout", *targets)


def check_out(project: Project, surfaces: Sequence[str]) -> str:
    """Bring surfaces' files out of DVC's cache, once it is known that all stay inside the project.

    Args:
        project: Its DVC files say what is brought.
        surfaces: Names; with none, nothing is done.

    Returns:
        What DVC printed.

    Raises:
        ToolError: If what is to be brought names a file outside, or is not in the cache.
    """
    if not surfaces:
        return ""
    targets, outs = shared(project, surfaces)
    refuse_damaged(project, outs)
    return run_dvc(project, "checkout", *targets)


def has_remote(project: Project) -> bool:
    """Tell whether DVC knows of another place for the images."""
    return bool(run_dvc(project, "remote", "list").strip())


def push(project: Project, surfaces: Sequence[str]) -> str:
    """Copy surfaces' files to the DVC remote.

    Args:
        project: Its DVC cache is copied from.
        surfaces: Names; without, DVC copies all that it knows.

    Returns:
        What DVC printed.

    Raises:
        ToolError: If DVC fails, for example because it does not reach the remote.
    """
    return run_dvc(project, "push", *shared(project, surfaces)[0])


def shared(project: Project, surfaces: Sequence[str]) -> tuple[list[str], list[DvcFile]]:
    """Name what DVC shares of surfaces, and what that holds.

    Args:
        project: Whose pointers and dvc.lock are read.
        surfaces: Names.

    Returns:
        Words for DVC's commands, and what they stand for, by paths relative to the project.
    """
    targets: list[str] = []
    outs: list[DvcFile] = []
    for name in surfaces:
        pointers = sorted(project.surface(name).raw.glob("*.dvc"))
        texts = {pointer.name: pointer.read_text("utf-8", errors="replace") for pointer in pointers}
        outs += pointed(project.surface(name), texts)
        targets += [str(pointer.relative_to(project.root)) for pointer in pointers]
        for stage, entry in lock_entries(project, name).items():
            outs += read_stage(entry, f"{project.dvc_lock}: {stage}").outs
        targets += stage_names(name)
    return targets, outs
