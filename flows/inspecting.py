"""What `inspect` calls: a few photographs are answered one by one, a large batch becomes a table."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from flows.champion import Loaded, find_champion, load_version
from flows.environment import log_to_terminal, prepare_environment
from flows.results import InspectResult
from pipelines.batch import Counts, Terms, open_batch
from pipelines.defects.exports import Exports
from pipelines.errors import CallError
from pipelines.history import write_batch
from pipelines.inspection import Looked, inspect_photographs
from pipelines.paths import find_project
from pipelines.photographs import Photograph, find_photographs
from pipelines.records import Inspected
from pipelines.sinks import spare_inputs
from pipelines.tracking.store import Tracking

log = logging.getLogger(__name__)


def call_inspect(
    surface: str,
    paths: list[Path],
    out: Path | None,
    maps: Path | None,
    exports: Exports,
    table: Path | None = None,
    *,
    pictures: bool = True,
) -> InspectResult:
    """Inspect photographs with a surface's champion, and write what was seen into the surface's history.

    Raises:
        CallError: where results would be written over photographs, or a table is asked for together with files that
            would hold a resumed batch's rest alone.
    """
    started = time.monotonic()
    project = find_project()
    log_to_terminal()
    prepare_environment(project)
    target = (out or project.surface(surface).reports / "inspect") if pictures else None
    if table is not None and exports.files:
        raise CallError(
            "--coco and --csv hold one call's photographs, a table may come of several",
            cure="leave --table out, or these two",
        )
    results = _Results(target, maps, exports)
    photographs = find_photographs(paths, list(results.folders.values()))
    spare_inputs([Path(p.file) for p in photographs], exports.files, exports.folders)
    tracking = Tracking(project)
    champion = load_version(tracking, find_champion(project, tracking, surface))
    history = project.surface(surface).history
    images: tuple[Inspected, ...] = ()
    if table is None:
        images = _inspect_few(champion, photographs, results, history)
        counts = _count(images)
    else:
        counts = _inspect_batch(champion, photographs, results, table, history)
    info = champion.detector.info
    return InspectResult(
        surface=surface,
        model=champion.name,
        image_threshold=info.image_threshold.threshold,
        pixel_threshold=info.pixel_threshold.threshold,
        images=images,
        **counts.model_dump(),
        table=None if table is None else str(table),
        out=None if target is None else str(target),
        seconds=time.monotonic() - started,
    )


class _Results(NamedTuple):
    """Where the results of each photograph go."""

    out: Path | None
    maps: Path | None
    exports: Exports

    @property
    def folders(self) -> dict[str, Path]:
        named = {"out": self.out, "maps": self.maps, "masks": self.exports.masks, "crops": self.exports.crops}
        return {name: folder for name, folder in named.items() if folder}


def _inspect(champion: Loaded, photographs: list[Photograph], results: _Results) -> Iterator[Looked]:
    sinks = list(results.exports.open(champion.name))
    return inspect_photographs(champion.detector, champion.version, photographs, results.out, results.maps, sinks)


def _inspect_few(
    champion: Loaded, photographs: list[Photograph], results: _Results, history: Path
) -> tuple[Inspected, ...]:
    looked: list[Looked] = []
    try:
        for found in _inspect(champion, photographs, results):
            looked.append(found)
    finally:
        # Also after Ctrl-C: what was seen was seen.
        write_batch(history, (found.observation for found in looked))
    return tuple(found.inspected for found in looked)


def _inspect_batch(
    champion: Loaded, photographs: list[Photograph], results: _Results, table: Path, history: Path
) -> Counts:
    terms = Terms(
        surface=champion.detector.info.surface,
        version=champion.version,
        results={name: str(folder.absolute()) for name, folder in results.folders.items()},
    )
    with open_batch(table, terms, photographs, history) as batch:
        if len(batch.left) < len(photographs):
            log.info("%s: goes on with %d of %d photographs", table, len(batch.left), len(photographs))
        try:
            for found in _inspect(champion, batch.left, results):
                batch.add(found.inspected, found.observation)
        except KeyboardInterrupt:
            log.info("%s: the same command goes on from here", table)
            raise
        return batch.finish(history)


def _count(images: tuple[Inspected, ...]) -> Counts:
    return Counts(
        photographs=len(images),
        anomalous=sum(bool(image.anomalous) for image in images),
        unreadable=sum(image.error is not None for image in images),
    )
