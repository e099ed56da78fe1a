"""The one root of errors, and what each kind means to a caller."""

import errno
from typing import ClassVar


class KnotwatchError(Exception):
    """Say what was expected, what was found, where, and what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, hint: str) -> None:
        super().__init__(f"{problem}\n  What to do: {hint}")
        self.problem = problem
        self.hint = hint


class CallError(KnotwatchError):
    """The call itself was wrong: an unknown surface, a misspelt key, a folder that is not there."""

    exit_code = 2


class SettingsError(CallError):
    """A settings file holds something that it should not."""


class SourceError(CallError):
    """A data set does not lie on disk as its layout says."""


class PathError(SourceError):
    """A name that was read from a table, a record or a request leads out of the folder that it belongs to."""


class ImageError(KnotwatchError):
    """A file cannot be used as an image. The problem names the reason, not the file's content."""


class GateError(KnotwatchError):
    """A gate said no: too many bad images, or a model that has not earned its promotion."""

    exit_code = 3


class BusyError(KnotwatchError):
    """Another process holds the surface, the project's data or a port."""


class ModelError(KnotwatchError):
    """A model folder is incomplete, of a newer schema, or does not reproduce its own scores."""


class ScoreError(ModelError):
    """A version gives an image a score or map that is not finite: nothing can be said of the image."""


class ToolError(KnotwatchError):
    """DVC, MLflow or Prefect failed; their own words are in the problem."""


class DiskError(KnotwatchError):
    """The system refused something: a full disk, a folder that may not be written."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def explain_os_error(error: OSError) -> KnotwatchError:
    """Say in our words what the system said: which file, why, and what to do."""
    said = error.strerror or str(error) or type(error).__name__
    problem = f"{str(error.filename)[:300]}: {said}" if error.filename else f"the system says: {said}"
    if error.errno == errno.ENAMETOOLONG:
        return CallError(problem, hint="name a file with a shorter name")
    if error.errno in _FULL:
        return DiskError(problem, hint="free space on that disk, then run this again")
    if error.errno in _FORBIDDEN:
        return DiskError(problem, hint="allow this user to write there, or name another folder")
    return DiskError(problem, hint="mend what it names, then run this again")
