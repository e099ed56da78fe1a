"""The networks of a version: its own, or those of its members, each a whole version in a folder of its own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.paths import inside
from pipelines.core.records import Precision
from pipelines.detector.scan import MapsTiles, Part
from pipelines.detector.version import TOLERANCES, Member, VersionInfo, read_info
from pipelines.models.openvino.runtime import PROCESSOR, TileModel

MEMBERS = "members"


def member_folder(folder: Path, name: str) -> Path:
    """Return the folder of an ensemble's member.

    Args:
        folder: The ensemble's model folder.
        name: That of one of `VersionInfo.members`.

    Returns:
        A model folder inside it.

    Raises:
        PathError: If the name leads out of it.
    """
    return inside(folder / MEMBERS, name)


def open_parts(
    folder: Path, members: Sequence[Member], plan: TilePlan, precision: Precision, device: str = PROCESSOR
) -> tuple[Part, ...]:
    """Load the networks of a model folder.

    Args:
        folder: A version's model folder, or one that was just fitted and has no model.json yet.
        members: Of an ensemble; empty for a folder that holds a network itself.
        plan: How that network sees a region; members have their own.
        precision: What that network is run with; members have their own.
        device: OpenVINO's name of what they run on.

    Returns:
        One part for each network.

    Raises:
        ModelError: If a network is missing or cannot be loaded.
    """
    if not members:
        return (Part(TileModel(folder, precision, device), plan),)
    return tuple(_open_member(member_folder(folder, one.name), one.divisor, device) for one in members)


def _open_member(folder: Path, divisor: float, device: str) -> Part:
    info = read_info(folder)
    return Part(TileModel(folder, info.precision, device), info.plan, divisor)


def count_references(folder: Path, info: VersionInfo) -> int:
    """Count the reference tiles that a version stores, those of its members included.

    Args:
        folder: The version's model folder.
        info: Its model.json.

    Returns:
        The number of tiles; 0 where a member has none.
    """
    if not info.members:
        return len(info.references)
    counts = [len(read_info(member_folder(folder, one.name)).references) for one in info.members]
    return sum(counts) if all(counts) else 0


def check_references(folder: Path, info: VersionInfo, parts: Sequence[Part], tolerance: float | None = None) -> None:
    """Score the stored reference tiles of each network again.

    Args:
        folder: The version's model folder.
        info: Its model.json.
        parts: Its networks, as `open_parts` loads them.
        tolerance: Relative; None: that of each network's precision.

    Raises:
        ModelError: If a tile's raw map does not come out as it did when the version was made.
    """
    if not info.members:
        _check_tiles(folder, info, parts[0].network, tolerance)
        return
    for one, part in zip(info.members, parts, strict=True):
        place = member_folder(folder, one.name)
        _check_tiles(place, read_info(place), part.network, tolerance)


def _check_tiles(folder: Path, info: VersionInfo, network: MapsTiles, tolerance: float | None) -> None:
    allowed = TOLERANCES[info.precision] if tolerance is None else tolerance
    for reference in info.references:
        with Image.open(inside(folder / "reference", reference.file)) as file:
            tile = np.asarray(file.convert("RGB"))
        found = network.infer(tile[None])[0]
        for name, value, stored in (
            ("mean", float(found.mean()), reference.mean),
            ("peak", float(found.max()), reference.peak),
        ):
            if not abs(value - stored) <= allowed * max(abs(stored), 1e-6):
                raise ModelError(
                    f"{folder}: tile {reference.file} has a {name} of {value:.6g}, stored was {stored:.6g}",
                    hint="its files were changed or this machine computes otherwise: do not use this version",
                )
