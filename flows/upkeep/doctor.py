"""`knotwatch doctor`: what this machine and this project lack, what is damaged, and the repair of what is safe."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

import psutil

from flows.upkeep.damage import Damage
from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.core.surface_settings import read_surface
from pipelines.training.run_settings import resolve_run

if TYPE_CHECKING:
    from pipelines.tracking.registry import ModelVersion
    from pipelines.tracking.store import Tracking

_PASSES = 3  # what is repaired may lay open more: a folder's list in DVC's cache names its files


class Check(Record):
    """What was looked at, and what was found; where something is wrong, `todo` says what to do."""

    name: str
    good: bool
    found: str
    todo: str = ""


def examine(project: Project) -> list[Check]:
    """Check what the chain relies on: a line for each thing that is well, and one for each fault of one that is not."""
    machine: dict[str, Callable[[Project], tuple[bool, str]]] = {
        "python": _python,
        "git": _git,
        "processor": _processor,
        "memory": _memory,
        "disk": _disk,
        "libraries": _libraries,
        "settings": _settings,
        "tracking": _tracking,
    }
    found = [_run(name, check, project) for name, check in machine.items()]
    for name, find in _damage_finders(project, opens=found[-1].good).items():
        faults = _find(find)
        found += [Check(name=name, good=False, found=fault.found, todo=fault.todo) for fault in faults]
        found += [] if faults else [Check(name=name, good=True, found="no damage")]
    return [*found, *_champions(project)]


def repair(project: Project) -> list[str]:
    """Repair what is safe, a fault at a time; nothing that could be somebody's data is removed or overwritten.

    Returns:
        What was done, and what could not be, a sentence each; empty where there was nothing to repair.
    """
    done: list[str] = []
    opens = _run("tracking", _tracking, project).good
    for _ in range(_PASSES):
        before = len(done)
        for find in _damage_finders(project, opens=opens).values():
            done += [said for fault in _find(find) if fault.mend and (said := _mend(fault, fault.mend)) not in done]
        if len(done) == before:
            break
    return done


def _mend(fault: Damage, mend: Callable[[], str]) -> str:
    try:
        return mend()
    except (KnotwatchError, OSError) as error:
        return f"not repaired: {fault.found}: {getattr(error, 'problem', error)}"


def _damage_finders(project: Project, *, opens: bool) -> dict[str, Callable[[], Iterable[Damage]]]:
    """Return the finders of damage by name; where MLflow's store does not open, those that do without."""
    finders: dict[str, Callable[[], Iterable[Damage]]] = {
        "data": lambda: _data(project),
        "stores": lambda: _stores(project),
        "remains": lambda: _remains(project, opens=opens),
    }
    return {**finders, "versions": lambda: _versions(project)} if opens else finders


# Imported where they are called: what a broken installation lacks is the fault of one check alone.
def _data(project: Project) -> Iterable[Damage]:
    from flows.upkeep.data import find_data_damage

    return find_data_damage(project)


def _stores(project: Project) -> Iterable[Damage]:
    from flows.upkeep.stores import find_store_damage

    return find_store_damage(project)


def _remains(project: Project, *, opens: bool) -> Iterable[Damage]:
    from flows.upkeep.remains import find_remains

    return find_remains(project, _open_store(project) if opens else None)


def _versions(project: Project) -> Iterable[Damage]:
    from flows.upkeep.versions import find_version_damage

    return find_version_damage(project, _open_store(project))


def _find(find: Callable[[], Iterable[Damage]]) -> list[Damage]:
    found: list[Damage] = []
    try:
        found.extend(find())
    except Exception as error:
        # What was found before it stays found.
        found.append(_as_damage(error))
    return found


def _as_damage(error: Exception) -> Damage:
    if isinstance(error, KnotwatchError):
        return Damage(error.problem, error.hint)
    return Damage(str(error) or type(error).__name__, "mend what it names, then run this again")


def _run(name: str, check: Callable[[Project], tuple[bool, str]], project: Project) -> Check:
    try:
        good, found = check(project)
    except Exception as error:
        # Whatever a broken installation or store may raise: the other checks still run.
        fault = _as_damage(error)
        return Check(name=name, good=False, found=fault.found, todo=fault.todo)
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
    """Open MLflow's store, but no damaged one."""
    from flows.upkeep.stores import refuse_torn
    from pipelines.tracking.connection import local_uri
    from pipelines.tracking.store import Tracking

    # MLflow itself writes the variable when an address is set, so its presence alone says nothing.
    if os.environ.get("MLFLOW_TRACKING_URI") in {None, "", local_uri(project)}:
        refuse_torn(project)
    return Tracking(project)


def _champions(project: Project) -> list[Check]:
    """Load each champion and have it reproduce its reference tiles."""
    from pipelines.models.openvino.runtime import named_device

    reproduced, faults = [], []
    try:
        tracking, device = _open_store(project), named_device()
        for name in project.surface_names():
            champion = tracking.champion(name)
            if champion is not None:
                fault = _reproduce(tracking, champion, device)
                faults += [fault] if fault else []
                reproduced += [] if fault else [f"{name}/{champion.version}"]
    except Exception as error:
        faults.append(_as_damage(error))
    if not faults:
        return [Check(name="champions", good=True, found="reproduced: " + (", ".join(reproduced) or "none yet"))]
    return [Check(name="champions", good=False, found=fault.found, todo=fault.todo) for fault in faults]


def _reproduce(tracking: "Tracking", champion: "ModelVersion", device: str) -> Damage | None:
    from flows.runtime.champion import rollback_hint
    from pipelines.detector.detector import Detector

    surface = champion.surface
    try:
        Detector(tracking.folder(surface, champion.version), device).check_references()
    except Exception as error:
        fault = _as_damage(error)
        return Damage(f"{surface} version {champion.version}: {fault.found}", rollback_hint(surface, fault.todo))
    return None
