"""The one root of errors, and what each kind means to a caller."""

from typing import ClassVar


class KnotwatchError(Exception):
    """Say what was expected, what was found, where, and what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, cure: str) -> None:
        super().__init__(f"{problem}\n  What to do: {cure}")
        self.problem = problem
        self.cure = cure


class CallError(KnotwatchError):
    """The call itself was wrong: an unknown surface, a misspelt key, a folder that is not there."""

    exit_code = 2


class SettingsError(CallError):
    """A settings file holds something that it should not."""


class SourceError(CallError):
    """A data set does not lie on disk as its layout says."""


class ImageError(KnotwatchError):
    """A file cannot be used as a photograph. The problem names the reason, not the file's content."""


class GateError(KnotwatchError):
    """A gate said no: too many bad images, or a model that has not earned its promotion."""

    exit_code = 3


class BusyError(KnotwatchError):
    """Another process holds the surface, the project's data or a port."""


class ModelError(KnotwatchError):
    """A model folder is incomplete, of a newer schema, or does not reproduce its own scores."""


class ToolError(KnotwatchError):
    """DVC, MLflow or Prefect failed; their own words are in the problem."""
