"""Names that lead out of a folder, and everything that reads a name from a file: one function each."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from flows.study.outlines import read_outlines
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.data.intake import note_arrivals
from pipelines.data.layouts import read_source
from pipelines.data.manifest import as_manifest, read_manifest, write_manifest
from pipelines.data.prepared import read_index
from pipelines.data.review_ledger import raw_file, read_reviews
from pipelines.data.versioning.versions import DataVersion, restore
from pipelines.detector.version import read_info

# Below the folder of a test, beside the project: no test may make it, or change it.
OUTSIDE = "outside/secret.png"
NAMES = (
    "../outside/secret.png",
    "images/../../outside/secret.png",
    "reviews/../../../../../outside/secret.png",
    "/etc/hostname",
    "..\\..\\outside\\secret.png",
    "\\\\server\\share\\x.png",
    "C:\\x.png",
    "C:x.png",
    "images/a\0b.png",
    "images/a\nb.png",
    "images/a\x7fb.png",
    "images/./a.png",
    "images//a.png",
    "..",
    "x" * 300 + ".png",
)
Reader = Callable[[Path, str], object]


def write_csv(file: Path, row: Mapping[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as text:
        rows = csv.DictWriter(text, list(row))
        rows.writeheader()
        rows.writerow(row)


def write_file(file: Path, text: str = "pixels") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def _vsb(column: str) -> Reader:
    def read(folder: Path, name: str) -> object:
        write_file(folder / "images/a.png")
        cells = {"image": "a.png", "mask": "", "location": "", "defects": "1", column: name}
        write_csv(folder / "labels.csv", cells)
        return read_source(Layout.VSB, folder)

    return read


def _procedural(column: str) -> Reader:
    def read(folder: Path, name: str) -> object:
        write_file(folder / "images/a.png")
        write_file(folder / "defects.json", '{"1": "knot"}')
        cells = {"image": "images/a.png", "mask": "", "condition": "", "defects": "1", column: name}
        write_csv(folder / "labels.csv", cells)
        return read_source(Layout.PROCEDURAL, folder)

    return read


def review_row(**cells: object) -> dict[str, object]:
    own = {"sha256": "0" * 64, "image": "reviews/photographs/a.png", "mask": "", "label": "normal"}
    return {**own, "split": "test", "defects": "{}", "rejected": "[]", **cells}


def _reviews(column: str) -> Reader:
    def read(folder: Path, name: str) -> object:
        write_csv(folder / "reviews/reviews.csv", review_row(**{column: name}))
        return read_reviews(folder)

    return read


def _manifest(column: str) -> Reader:
    def read(folder: Path, name: str) -> object:
        write_manifest(as_manifest([{"path": "images/a.png", "defects": "{}", column: name}]), folder / "manifest.csv")
        return read_manifest(folder / "manifest.csv")

    return read


def index_row(**cells: object) -> dict[str, object]:
    own = {"path": "a.png", "file": "images/a.png.png", "mask": "", "split": "test", "label": "normal", "group": "a"}
    box = {"left": 0, "top": 0, "right": 8, "bottom": 8, "width": 8, "height": 8}
    return {**own, **box, "defects": "{}", "condition": "", "key": "k", "digest": "d", "rejected": "[]", **cells}


def _index(column: str) -> Reader:
    def read(folder: Path, name: str) -> object:
        write_csv(folder / "index.csv", index_row(**{column: name}))
        return read_index(folder)

    return read


def _model(folder: Path, name: str) -> object:
    calibrated = {"threshold": 1.0, "asked": 0.01, "rate": 0.01, "images": 100}
    version = {"surface": "oak", "algorithm": "padim", "data_version": "0" * 16, "map_divisor": 1, "image_divisor": 1}
    plan = {"mode": "fit", "tile_height": 64, "tile_width": 64}
    rules = {"region": {}, "plan": plan, "score_rule": {"border_share": 0.07, "top_share": 0.005}}
    own = {**version, **rules, "image_threshold": calibrated, "pixel_threshold": calibrated}
    content = {**own, "references": [{"file": name, "mean": 0.5, "peak": 1.0}]}
    write_file(folder / "model.json", json.dumps(content))
    return read_info(folder)


def _arrivals(folder: Path, name: str) -> object:
    write_file(folder / "source/a.png")
    write_csv(folder / "ledger/arrivals.csv", {"path": name, "arrival": 1})
    return note_arrivals(Layout.UNLABELLED, folder / "source", folder / "ledger/arrivals.csv")


def _outlines(folder: Path, name: str) -> object:
    outline = {"label": "knot", "polygon": [[0, 0], [0, 5], [5, 5]]}
    return read_outlines(write_file(folder / "annotations.json", json.dumps({"images": {name: [outline]}})), folder)


def _restored(pointers: Mapping[str, object], lock: Mapping[str, object], project: Project) -> object:
    texts = {name: yaml.safe_dump(content) for name, content in pointers.items()}
    kept = DataVersion(version="0" * 16, lock=dict(lock), pointers=texts, settings="source: {}\n")
    return restore(project, "oak", kept, lambda: None)


def _pointer(folder: Path, name: str) -> object:
    return _restored({"source.dvc": {"outs": [{"md5": "0" * 32, "path": name}]}}, {}, Project(folder))


def _lock(folder: Path, name: str) -> object:
    outs = [{"md5": "0", "path": f"data/work/oak/{name}/../x"}]
    return _restored({}, {"validate@oak": {"outs": outs}}, Project(folder))


READERS: dict[str, Reader] = {
    **{f"layout vsb, {column}": _vsb(column) for column in ("image", "mask")},
    **{f"layout procedural, {column}": _procedural(column) for column in ("image", "mask")},
    **{f"reviews.csv, {column}": _reviews(column) for column in ("image", "mask")},
    **{f"manifest.csv, {column}": _manifest(column) for column in ("path", "mask")},
    **{f"index.csv, {column}": _index(column) for column in ("path", "file", "mask")},
    "model.json, references": _model,
    "arrivals.csv": _arrivals,
    "annotations.json": _outlines,
    "a file of the raw data": lambda folder, name: raw_file(folder / "source", name),
    "a DVC pointer of a shared data version": _pointer,
    "dvc.lock of a shared data version": _lock,
    "a surface's name": lambda folder, name: Project(folder).surface(name),
}
