"""The one root of errors, what each kind means to a caller, and the known name that an unknown one was meant to be."""

import errno
import os
import pwd
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

_LONGEST = 80  # characters of a name that are compared; what is longer is no slip of the pen


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


class ParityError(ModelError):
    """An exported network does not judge as the fitted one does."""


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
        belongs = f" (it belongs to {_find_owner(Path(str(error.filename)))})" if error.filename else ""
        return DiskError(problem + belongs, hint="allow this user to write there, or name another folder")
    return DiskError(problem, hint="mend what it names, then run this again")


def refuse_forbidden(paths: Iterable[Path]) -> None:
    """Raise DiskError for the first file or folder that this user may not read and write, naming its owner; what is not
    there is passed over.
    """
    for path in paths:
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise explain_os_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)))


def _find_owner(path: Path) -> str:
    """Name who owns a file, or the folder in which it was to be made."""
    for place in (path, *path.parents):
        with suppress(OSError):
            number = place.lstat().st_uid
            try:
                return pwd.getpwuid(number).pw_name
            except KeyError:
                return f"user {number}"
    return "somebody else"


class UnknownNameError(ValueError):
    """A value that settings refuse because it is none of those known; `found` and `known` say what to offer."""

    def __init__(self, problem: str, found: str, known: Iterable[str]) -> None:
        super().__init__(problem)
        self.found, self.known = found, tuple(known)


def find_closest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that one was probably meant to be.

    Args:
        name: As it was written; capitals do not count.
        known: The names that there are.

    Returns:
        One of `known`; None where none is close, or the name is one of them: then something else is wrong.

    >>> find_closest("wod-boards", ["fabric", "wood-boards"])
    'wood-boards'
    """
    names = list(known)
    if name in names:
        return None
    lower = {other.casefold(): other for other in names}
    found = get_close_matches(name[:_LONGEST].casefold(), lower, n=1)
    return lower[found[0]] if found else None


def offer_closest(hint: str, name: str, known: Iterable[str]) -> str:
    """Put the closest name before a hint.

    Args:
        hint: What to do where no name is close.
        name: As it was written.
        known: The names that there are.

    Returns:
        The hint, after the question where a name is close.
    """
    return offer(hint, filter(None, [find_closest(name, known)]))


def offer(hint: str, names: Iterable[str]) -> str:
    """Put names before a hint.

    Args:
        hint: What else to do.
        names: Offered in this order, each once; there may be none.

    Returns:
        The hint, after the question where there are names.

    >>> offer("choose one of quick, full", ["full"])
    "did you mean 'full'? Otherwise choose one of quick, full"
    """
    quoted = " and ".join(f"'{name}'" for name in dict.fromkeys(names))
    return f"did you mean {quoted}? Otherwise {hint}" if quoted else hint
