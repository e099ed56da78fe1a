"""Stage: look at new photographs with a registered version."""

import io
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

import tifffile

from pipelines.errors import CallError, ImageError
from pipelines.files import write_whole
from pipelines.imaging.decoding import decode_photograph
from pipelines.imaging.overlay import encode_picture, strip
from pipelines.loader import Detector
from pipelines.progress import track
from pipelines.records import Inspected, Record
from pipelines.sinks import Seen, Sink, close_all
from pipelines.sources.listing import is_photograph

_PANEL = 900  # longer side of each of the picture's three panels, pixels

log = logging.getLogger(__name__)


class Photograph(Record):
    """A file to inspect, its name relative to what was given, and the relative name that its results get."""

    file: str
    name: str
    stem: str

    @classmethod
    def of(cls, file: Path, name: PurePath) -> "Photograph":
        return cls(file=str(file), name=name.as_posix(), stem=name.with_suffix("").as_posix())


def find_photographs(paths: Sequence[Path], results: Sequence[Path] = ()) -> list[Photograph]:
    """List files, and the photographs below folders; names are relative to the folder that was given.

    What lies below one of the `results` folders was made by an inspection and is passed over.

    Raises:
        CallError: for a path that is not there, a folder without photographs, or two files of one name.
    """
    found: list[Photograph] = []
    for path in paths:
        if path.is_file():
            found.append(Photograph.of(path, PurePath(path.name)))
        elif path.is_dir():
            made = [folder for folder in results if folder.resolve() != path.resolve()]
            files = [p for p in sorted(path.rglob("*")) if _is_photograph(p, made)]
            found += [Photograph.of(p, p.relative_to(path)) for p in files]
        else:
            raise CallError(f"{path} is not there", cure="name photographs, or folders that hold some")
    if not found:
        raise CallError(
            f"no photograph in {', '.join(map(str, paths))}", cure="name a folder with JPEG, PNG or TIFF files"
        )
    stems = Counter(p.stem for p in found)
    # Two files that differ in their endings alone keep them in the names of their results.
    found = [p if stems[p.stem] == 1 else p.model_copy(update={"stem": p.name}) for p in found]
    twice = [stem for stem, count in Counter(p.stem for p in found).items() if count > 1]
    if twice:
        raise CallError(f"two files would have the results '{twice[0]}'", cure="inspect their folders one by one")
    return found


def _is_photograph(path: Path, results: Sequence[Path]) -> bool:
    made = any(path.resolve().is_relative_to(folder.resolve()) for folder in results)
    return path.is_file() and is_photograph(path) and not made


def _spare_photographs(photographs: Sequence[Photograph], out: Path | None, maps: Path | None) -> None:
    inputs = {Path(p.file).resolve() for p in photographs}
    for photograph in photographs:
        for target in (_overlay_file(out, photograph), _map_file(maps, photograph)):
            if target is not None and target.resolve() in inputs:
                raise CallError(
                    f"the result {target} would be written over a photograph",
                    cure="give --out and --maps other folders",
                )


def _overlay_file(out: Path | None, photograph: Photograph) -> Path | None:
    return None if out is None else out / f"{photograph.stem}.jpg"


def _map_file(maps: Path | None, photograph: Photograph) -> Path | None:
    return None if maps is None else maps / f"{photograph.stem}.tiff"


def inspect_photographs(
    detector: Detector,
    photographs: Sequence[Photograph],
    out: Path | None,
    maps: Path | None,
    sinks: Sequence[Sink] = (),
) -> list[Inspected]:
    """Score photographs; write an overlay picture and, with `maps`, a float32 TIFF for each; hand each to the `sinks`.

    A file that cannot be read, or scanned, is reported in its place and stops nothing.

    Raises:
        CallError: where a result would be written over one of the photographs; nothing is inspected then.
    """
    _spare_photographs(photographs, out, maps)
    started = time.monotonic()
    results = [
        _inspect_one(detector, photograph, out, maps, sinks)
        for photograph in track(photographs, len(photographs), "inspect")
    ]
    close_all(sinks)
    marked = sum(bool(r.anomalous) for r in results)
    unread = sum(r.error is not None for r in results)
    log.info(
        "inspect %s: %d photographs, %d anomalous, %d unreadable, %.1f s",
        *(detector.info.surface, len(results), marked, unread, time.monotonic() - started),
    )
    return results


def _inspect_one(
    detector: Detector, photograph: Photograph, out: Path | None, maps: Path | None, sinks: Sequence[Sink]
) -> Inspected:
    try:
        image = decode_photograph(Path(photograph.file), detector.info.max_megapixels).image
        # Also here: a fixed region of interest may lie outside of one photograph.
        scan = detector.scan(image)
    except ImageError as error:
        return Inspected(path=photograph.file, error=error.problem)
    written_map, written_overlay = _map_file(maps, photograph), _overlay_file(out, photograph)
    if written_map is not None:
        encoded = io.BytesIO()
        tifffile.imwrite(encoded, scan.map, compression="zlib")
        write_whole(written_map, encoded.getvalue())
    if written_overlay is not None:
        picture = strip(image, scan.map, detector.info.pixel_threshold.threshold, max_side=_PANEL)
        write_whole(written_overlay, encode_picture(picture))
    height, width = image.shape[:2]
    result = Inspected(
        path=photograph.file,
        score=scan.score,
        anomalous=scan.anomalous,
        width=width,
        height=height,
        map=str(written_map) if written_map else None,
        overlay=str(written_overlay) if written_overlay else None,
        defects=scan.defects,
    )
    for sink in sinks:
        sink.add(Seen(image, scan.map, result, photograph.name, photograph.stem))
    return result
