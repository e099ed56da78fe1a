"""A version small enough to be made for each test, and what may damage its files."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openvino
from openvino import opset13 as ops
from PIL import Image

from pipelines.core.geometry import TilePlan
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import RegionSettings
from pipelines.detector.version import DriftReference, Reference, VersionInfo
from pipelines.imaging.image_score import ScoreRule

TILE = 32
Attack = Callable[[Path], object]


def save_version(folder: Path, brightness: float = 100.0) -> Path:
    """Write a version whose map is how bright a tile is; white is anomalous. `brightness` is what it was made on."""
    tiles = ops.parameter([-1, TILE, TILE, 3], np.uint8)
    mean = ops.reduce_mean(ops.convert(tiles, "f32"), np.array([3]), keep_dims=False)
    weights = ops.constant(np.random.default_rng(0).uniform(0.99, 1.01, (TILE, TILE)).astype(np.float32))
    network = openvino.Model([ops.multiply(mean, weights)], [tiles])
    openvino.save_model(network, folder / "model.xml", compress_to_fp16=False)
    (folder / "reference").mkdir()
    for number in (0, 1):
        tile = np.full((TILE, TILE, 3), 100 * (number + 1), np.uint8)
        Image.fromarray(tile).save(folder / "reference" / f"{number}.png")
    calibrated = CalibratedThreshold(threshold=1.0, target_rate=0.01, achieved_rate=0.01, images=99)
    info = VersionInfo(
        surface="oak",
        algorithm="padim",
        data_version="0" * 16,
        region=RegionSettings(rule="none"),
        plan=TilePlan(mode="fit", tile_height=TILE, tile_width=TILE),
        score_rule=ScoreRule(),
        map_divisor=200,
        image_divisor=200,
        image_threshold=calibrated,
        pixel_threshold=calibrated,
        references=tuple(_reference(100 * (n + 1), f"{n}.png") for n in (0, 1)),
    )
    (folder / "model.json").write_text(info.model_dump_json())
    seen = DriftReference(scores=(brightness / 200,), measures={"brightness_mean": (brightness,)})
    (folder / "calibration.json").write_text(seen.model_dump_json())
    return folder


def _reference(level: int, file: str) -> Reference:
    weights = np.random.default_rng(0).uniform(0.99, 1.01, (TILE, TILE)).astype(np.float32)
    return Reference(file=file, mean=float(level * weights.mean()), peak=float(level * weights.max()))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], name: str = "model.json") -> None:
    path = folder / name
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def flip_bits(folder: Path, count: int = 200) -> None:
    """Flip bits of the weights, as a failing disk does."""
    data = np.unpackbits(np.frombuffer((folder / "model.bin").read_bytes(), np.uint8))
    data[np.random.default_rng(1).choice(data.size, count, replace=False)] ^= 1
    (folder / "model.bin").write_bytes(np.packbits(data).tobytes())


def spoil_weights(folder: Path) -> None:
    """Make every weight NaN, but none of the small numbers that a network does not load without."""
    data = bytearray((folder / "model.bin").read_bytes())
    for constant in ElementTree.parse(folder / "model.xml").iterfind(".//layer[@type='Const']/data"):  # noqa: S314 - ours
        start, size = int(constant.attrib["offset"]), int(constant.attrib["size"])
        if constant.attrib["element_type"] == "f32" and size > 1000:
            data[start : start + size] = np.full(size // 4, np.nan, np.float32).tobytes()
    (folder / "model.bin").write_bytes(data)


def raise_threshold(folder: Path) -> None:
    """Make every image good."""
    rewrite(folder, lambda info: info["image_threshold"].update(threshold=1e9))


def no_divisor(folder: Path) -> None:
    rewrite(folder, lambda info: info.update(image_divisor=float("nan")))


def take_calibration_of(other: Path) -> Attack:
    """Put another version's calibration in the place of the own one."""
    return lambda folder: (folder / "calibration.json").write_bytes((other / "calibration.json").read_bytes())


def swap_files(folder: Path) -> None:
    one, two = folder / "reference/0.png", folder / "reference/1.png"
    auxiliary = one.rename(folder / "aside")
    two.rename(one)
    auxiliary.rename(two)


def and_its_line(attack: Attack, name: str) -> Attack:
    """Damage a file and write the list of checksums to match."""

    def change(folder: Path) -> None:
        attack(folder)
        data = (folder / name).read_bytes()
        line = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        rewrite(folder, lambda kept: kept["files"].update({name: line}), "checksums.json")

    return change
