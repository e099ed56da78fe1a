"""Verdicts as files: NUMBER.json, each whole or not there, with the marked picture beside it."""

import json
from pathlib import Path

from flows.line.journal import Kept
from flows.line.sinks.sink import AwayError
from pipelines.core.files import write_whole


class FolderSink:
    """Writes into one folder, which may be on another machine's disk."""

    def __init__(self, name: str, folder: Path, pictures: Path) -> None:
        """Write into a folder.

        Args:
            name: The sink's address.
            folder: Made where it is missing.
            pictures: Where the line keeps its last marked pictures, `NUMBER.jpg`.
        """
        self.name, self._folder, self._pictures = name, folder, pictures

    def send(self, kept: Kept) -> None:
        picture, file = self._pictures / f"{kept.number}.jpg", f"{kept.number:08d}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if picture.is_file():
                write_whole(self._folder / f"{file}.jpg", picture.read_bytes())
            # Last: whoever sees it may rely on the picture.
            write_whole(self._folder / f"{file}.json", json.dumps(json.loads(kept.body), indent=1) + "\n")
        except OSError as error:
            raise AwayError(
                f"{self._folder} takes no files ({error.strerror})", hint="mend it: nothing is lost"
            ) from error

    def beat(self, *, alive: bool) -> None:
        """Do nothing: a file is no heartbeat."""

    def close(self) -> None:
        """Do nothing."""
