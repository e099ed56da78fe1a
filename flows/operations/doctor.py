"""`knotwatch doctor`: what this machine and this project lack."""

import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

import psutil

from flows.operations.store_damage import refuse_damage
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.core.surface_settings import read_surface
from pipelines.training.run_settings import resolve_run

if TYPE_CHECKING:
    from pipelines.tracking.store import Tracking


class Check(Record):
    name: str
    good: bool
    found: str


def examine(project: Project) -> list[Check]:
    """Check what the chain relies on; a check that fails says what to mend."""
    checks: dict[str, Callable[[Project], tuple[bool, str]]] = {
        "python": _python,
        "git": _git,
        "processor": _processor,
        "memory": _memory,
        "disk": _disk,
        "libraries": _libraries,
        "settings": _settings,
        "tracking": _tracking,
        "champions": _champions,
    }
    return [_run(name, check, project) for name, check in checks.items()]


def _run(name: str, check: Callable[[Project], tuple[bool, str]], project: Project) -> Check:
    try:
        good, found = check(project)
    except Exception as error:
        # Whatever a broken installation or store may raise: the other checks still run.
        good, found = False, str(error) or type(error).__name__
    return Check(name=name, good=good, found=found)


def _python(_: Project) -> tuple[bool, str]:
    return (3, 11) <= sys.version_info[:2] < (3, 13), sys.version.split()[0] + " (3.11 or 3.12 is needed)"


def _git(_: Project) -> tuple[bool, str]:
    found = shutil.which("git")
    return found is not None, found or "not on PATH: install git"


def _processor(_: Project) -> tuple[bool, str]:
    from pipelines.models.openvino.runtime import machine_precisions, named_device, usable_cores

    device = named_device()
    return True, f"{usable_cores()} cores may be used; inference on {device} in {', '.join(machine_precisions(device))}"


def _memory(_: Project) -> tuple[bool, str]:
    free = psutil.virtual_memory().available / 2**30
    return free >= 4, f"{free:.1f} GB available (training wants 4)"


def _disk(project: Project) -> tuple[bool, str]:
    free = shutil.disk_usage(project.root).free / 2**30
    return free >= 2, f"{free:.1f} GB free"


def _libraries(_: Project) -> tuple[bool, str]:
    names = ("anomalib", "torch", "openvino", "prefect", "dvc", "mlflow", "great-expectations")
    return True, ", ".join(f"{name} {version(name)}" for name in names)


def _settings(project: Project) -> tuple[bool, str]:
    names = project.surface_names()
    for name in names:
        resolve_run(project, read_surface(project, name), "quick", [])
    return True, f"{len(names)} surfaces read"


def _tracking(project: Project) -> tuple[bool, str]:
    return True, _open_store(project).uri


def _open_store(project: Project) -> "Tracking":
    """Open MLflow's store, but no damaged one: MLflow would make tables in it, and hide what happened."""
    from pipelines.tracking.connection import local_uri
    from pipelines.tracking.store import Tracking

    # MLflow itself writes the variable when an address is set, so its presence alone says nothing.
    if os.environ.get("MLFLOW_TRACKING_URI") in {None, "", local_uri(project)}:
        refuse_damage(project)
    return Tracking(project)


def _champions(project: Project) -> tuple[bool, str]:
    """Load each champion and have it reproduce its reference tiles."""
    from pipelines.detector.detector import Detector
    from pipelines.models.openvino.runtime import named_device

    tracking = _open_store(project)
    found = []
    for name in project.surface_names():
        champion = tracking.champion(name)
        if champion is not None:
            Detector(tracking.folder(name, champion.version), named_device()).check_references()
            found.append(f"{name}/{champion.version}")
    return True, "reproduced: " + (", ".join(found) or "none yet")
