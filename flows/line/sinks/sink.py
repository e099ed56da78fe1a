"""What every sink has in common."""

from typing import Protocol

from flows.line.journal import Kept
from pipelines.core.errors import ToolError


class AwayError(ToolError):
    """The receiver took nothing now; the same verdict is tried again."""


class Sink(Protocol):
    """Gets verdicts one by one, in order, from one thread."""

    name: str

    def send(self, kept: Kept) -> None:
        """Hand a verdict over; return once the receiver has it.

        Args:
            kept: The verdict; the same one again after an `AwayError`.

        Raises:
            AwayError: If the receiver has not confirmed it.
        """

    def beat(self, *, alive: bool) -> None:
        """Show that inspection goes on, or stops; called every second, and never an error."""

    def close(self) -> None:
        """Say good-bye and end; never an error."""
