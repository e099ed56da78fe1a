"""Candidates for the gate, made from one trained version: worse, slower, tampered with, alarming, and their like."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from PIL import Image

from pipelines.core.paths import Project
from pipelines.core.results import ValidationReport
from pipelines.data.versioning.versions import data_version
from pipelines.models.openvino.runtime import TileModel
from pipelines.tracking.store import Tracking
from tests.flows.projects import SURFACE

Change = Callable[[Path], None]


def add_anomaly(
    project: Project, tracking: Tracking, change: Change, *, validated: bool = True, seen: Sequence[str] = ()
) -> int:
    """Register a changed copy of the first version's model folder, and return its number.

    `seen` are the paths of the images that it claims to be trained on.
    """
    base = tracking.folder(SURFACE, 1)
    with tempfile.TemporaryDirectory() as place, tracking.run(SURFACE, "synthetic", tags={}) as run:
        folder = Path(place) / "model"
        shutil.copytree(base, folder)
        change(folder)
        if not validated:
            bad = ValidationReport(
                accepted=False, images=48, usable=30, reasons=("37 % of the images are quarantined",)
            )
            run.text(bad.model_dump_json(), "verdict.json")
        if seen:
            run.text(json.dumps([{"path": path, "split": "train", "label": "normal"} for path in seen]), "images.json")
        known = {"algorithm": "padim", "data_version": data_version(project, SURFACE) or ""}
        return tracking.register(run, SURFACE, folder, known, "synthetic").version


def equal(folder: Path) -> None:
    """Leave it as it is."""


def alarming(folder: Path) -> None:
    """Flag nearly every image."""
    rewrite(folder, lambda info: info["image_threshold"].update(threshold=1e-6))
    rewrite_parity(folder)


def silent(folder: Path) -> None:
    """Call every image good."""
    rewrite(folder, lambda info: info["image_threshold"].update(threshold=1e9))


def tampered(folder: Path) -> None:
    """Change the exported network's weights after its reference tiles were scored."""
    weights = folder / "model.bin"
    data = np.frombuffer(weights.read_bytes(), np.uint8).copy()
    data[len(data) // 2 :: 97] = 0
    weights.write_bytes(data.tobytes())


def ignorant(folder: Path) -> None:
    """Put a network in its place whose map is how bright a tile is, and let it keep its own references."""
    plan = json.loads((folder / "model.json").read_text())["plan"]
    tiles = ops.parameter([-1, plan["tile_height"], plan["tile_width"], 3], np.uint8)
    mean = ops.reduce_mean(ops.convert(tiles, "f32"), np.array([3]), keep_dims=False)
    _save(folder, openvino.Model([mean], [tiles]))
    # What is bright is no defect: nothing of it may be flagged, so that no false alarm speaks against it.
    rewrite(folder, lambda info: info["image_threshold"].update(threshold=1e9))


def slow(folder: Path) -> None:
    """Let the same network do much that changes nothing."""
    core = openvino.Core()
    model = core.read_model(folder / "model.xml")
    random = np.random.default_rng(0)
    weights = ops.constant(random.normal(0, 0.01, (1536, 1536)).astype(np.float32))
    numbers = ops.broadcast(ops.reduce_mean(ops.convert(model.input(0), "f32"), np.arange(4)), np.array([16, 1536]))
    for _ in range(90):  # so much that even a busy machine does not hide it
        numbers = ops.tanh(ops.matmul(numbers, weights, transpose_a=False, transpose_b=False))
    nothing = ops.multiply(ops.reduce_mean(numbers, np.arange(2)), np.float32(1e-20))
    source = model.output(0).get_node().input_value(0)
    _save(folder, openvino.Model([ops.add(source, nothing)], model.get_parameters()))


def elsewhere(folder: Path) -> None:
    """Look at another region of the image than the surface does."""
    rewrite(folder, lambda info: info.update(region={"rule": "box", "box": [8, 8, 100, 100]}))


def _save(folder: Path, model: openvino.Model) -> None:
    # In place would overwrite weights that the model still reads.
    with tempfile.TemporaryDirectory(dir=folder) as auxiliary:
        openvino.save_model(model, Path(auxiliary) / "model.xml", compress_to_fp16=False)
        for name in ("model.xml", "model.bin"):
            shutil.move(Path(auxiliary) / name, folder / name)
    rewrite(folder, lambda info: info.update(references=[_reference(folder, r["file"]) for r in info["references"]]))


def _reference(folder: Path, file: str) -> dict[str, Any]:
    tile = np.asarray(Image.open(folder / "reference" / file).convert("RGB"))
    found = TileModel(folder).infer(tile[None])[0]
    return {"file": file, "mean": float(found.mean()), "peak": float(found.max())}


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def rewrite_parity(folder: Path) -> None:
    """Let torch and the export agree, whatever the threshold."""
    path = folder / "parity.json"
    parity = json.loads(path.read_text())
    path.write_text(json.dumps({**parity, "exported": parity["torch"]}))
