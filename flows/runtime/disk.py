"""Errors that the disk is behind, whatever a library made of them."""

import shutil
from collections.abc import Iterator

from pipelines.core.errors import DiskError, KnotwatchError, explain_os_error, refuse_forbidden
from pipelines.core.paths import Project, find_project

# Bytes: with less, neither MLflow's database nor Prefect's server starts; a training leaves up to the second.
_LEAST, _TRAINING = 1 << 20, 100 << 20
# What libraries write to themselves, and say little of where they may not.
_WRITTEN = (".", "mlflow", "mlflow/mlflow.db", "mlflow/artifacts", "prefect", "prefect/prefect.db", "locks")


def explain_by_disk(error: BaseException) -> KnotwatchError | None:
    """Say in our words what the system refused; None where nothing says that it refused anything.

    Of a full disk Prefect says only that its server does not answer, and MLflow that its database does not.
    """
    if isinstance(error, OSError):
        # Of a file that is open already the system names none.
        return (None if error.filename else _fault_of_project()) or explain_os_error(error)
    refused = (explain_os_error(cause) for cause in _causes(error) if isinstance(cause, OSError) and cause.filename)
    return next(refused, None) or _fault_of_project()


def require_space(project: Project) -> None:
    """Raise DiskError where the project's disk cannot hold what a training leaves: it would fail after minutes."""
    free = shutil.disk_usage(project.root).free
    if free < _TRAINING:
        raise DiskError(
            f"{free >> 20} MB are free on the disk of {project.root}, a training needs {_TRAINING >> 20}",
            hint="free space, then run this again",
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _fault_of_project() -> DiskError | None:
    try:
        root = find_project().root
    except KnotwatchError:
        return None
    free = shutil.disk_usage(root).free
    if free < _LEAST:
        return DiskError(f"the disk of {root} is full ({free:,} bytes free)", hint="free space, then run this again")
    state = root / ".knotwatch"
    try:
        refuse_forbidden([root, *(state / name for name in _WRITTEN)])
    except DiskError as error:
        return error
    return None
