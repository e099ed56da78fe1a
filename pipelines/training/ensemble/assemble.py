"""Stage: put versions of one run into one model folder, without copying their files where the disk can share them."""

import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pipelines.core.errors import CallError
from pipelines.core.records import TYPES, Precision
from pipelines.core.results import Trained
from pipelines.detector.checksums import FILE as CHECKSUMS
from pipelines.detector.checksums import check_folder
from pipelines.detector.members import MEMBERS, member_folder
from pipelines.detector.version import read_info
from pipelines.training.ensemble.settings import ENSEMBLE

# From the most exact on: what a version as a whole is said to compute in is the least exact of its members' precisions.
_EXACTNESS = (Precision.F32, Precision.BF16, Precision.INT8)

log = logging.getLogger(__name__)


def assemble(
    members: Mapping[str, Path],
    folder: Path,
    weights: Mapping[str, float] = MappingProxyType({}),
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Trained:
    """Make the model folder of an ensemble, without thresholds yet, out of calibrated versions.

    Each member is whole in members/NAME, but for what names types, which the ensemble has itself: it is loaded, checked
    and moved without the versions that it was made of.

    Args:
        members: Their model folders by name, in the order in which they were taken; not changed.
        folder: The ensemble's model folder; whatever it holds is removed first.
        weights: How much the maps of members count, above 0, by name; 1 where none is given.
        notes: What belongs on the model card.

    Returns:
        The ensemble as a fit: its plan is the first member's, nothing was trained.

    Raises:
        CallError: If there is no member.
        ModelError: If a member's files are not those that were registered.
    """
    started = time.monotonic()
    if not members:
        raise CallError("an ensemble needs a member", hint="train at least one of `ensemble.members`")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    infos = []
    for name, source in members.items():
        check_folder(source)
        place = member_folder(folder, name)
        shutil.copytree(source, place, copy_function=_link_or_copy, ignore=shutil.ignore_patterns(TYPES, CHECKSUMS))
        infos.append(read_info(place))
    log.info("ensemble: %s", ", ".join(members))
    return Trained(
        algorithm=ENSEMBLE,
        folder=str(folder),
        plan=infos[0].plan,
        tiles=0,
        seconds=time.monotonic() - started,
        peak_rss_mb=0.0,
        precision=max((info.precision for info in infos), key=_EXACTNESS.index),
        notes=dict(notes),
        members={name: weights.get(name, 1.0) for name in members},
    )


def _link_or_copy(source: str, target: str) -> None:
    """Give a file a second name; copy it where that is refused, as between two disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def share_files(folder: Path, members: Mapping[str, Path]) -> int:
    """Have an ensemble's registered folder share its members' files on the disk, where that can be.

    A file is replaced only by an equal one: a member's folder may have changed since it was copied.

    Args:
        folder: The ensemble's model folder, as it lies in the registry.
        members: Registered model folders by name, on the same disk or another.

    Returns:
        How many files are shared now.
    """
    shared = 0
    for name, source in members.items():
        place = folder / MEMBERS / name
        for file in sorted(path for path in place.rglob("*") if path.is_file()):
            original = source / file.relative_to(place)
            if original.is_file() and not original.samefile(file) and _is_equal(original, file):
                shared += _replace_by_link(original, file)
    return shared


def _is_equal(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _replace_by_link(original: Path, file: Path) -> bool:
    beside = file.with_name(f".{file.name}.link")
    try:
        os.link(original, beside)
        beside.replace(file)
    except OSError:  # another disk, or one that cannot: the copy stays
        beside.unlink(missing_ok=True)
        return False
    return True
