"""What takes an inspection's images one by one, so that none has to be kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import CallError
from pipelines.core.results import Inspected


class InspectedImage(NamedTuple):
    """An image that was inspected: pixels (H, W, 3), map (H, W), measures of its region, and the result.

    `name` is its POSIX name relative to what was given, `stem` the relative name that its results get, `file` the path
    that it is opened by, where that is another than the result's.
    """

    image: NDArray[np.uint8]
    map: NDArray[np.float32]
    measures: dict[str, float]
    result: Inspected
    name: str
    stem: str
    file: str = ""


class Sink(Protocol):
    """Takes each image that could be read, then finishes what it writes."""

    def add(self, seen: InspectedImage) -> None: ...

    def close(self) -> None: ...


def close_all(sinks: Sequence[Sink]) -> None:
    """Finish what every sink writes."""
    for sink in sinks:
        sink.close()


def spare_inputs(inputs: Sequence[Path], files: Sequence[Path], folders: Sequence[Path]) -> None:
    """Check that no result would be written over an image.

    Args:
        inputs: Files that are to be inspected.
        files: Files that will be written; they need not exist.
        folders: Folders that results are written into; they need not exist.

    Raises:
        CallError: If one of `files` is an image, or one of `folders` holds one, however deep.
    """
    given = {path.resolve() for path in inputs}
    for target in files:
        if target.resolve() in given:
            raise CallError(f"{target} is one of the images", hint="name another file for the result")
    for folder in folders:
        if any(folder.resolve() in path.parents for path in given):
            raise CallError(f"{folder} holds images that are inspected", hint="name another folder for results")
