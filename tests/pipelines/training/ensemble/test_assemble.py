"""An ensemble's folder: it scores as its members do together, is whole by itself, and stores no network twice."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.errors import CallError, ModelError
from pipelines.core.records import Precision
from pipelines.detector.checksums import write_checksums
from pipelines.detector.detector import Detector
from pipelines.detector.version import SCHEMA, VersionInfo, read_info
from pipelines.training.ensemble.assemble import assemble, share_files
from pipelines.training.ensemble.settings import ENSEMBLE
from tests.tiny_version import TILE, Attack, raise_threshold, rewrite, save_version, spoil_weights


@pytest.fixture
def bright(tmp_path: Path) -> Path:
    return _version(tmp_path / "bright")


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    """Another member, on a scale of its own."""
    folder = _version(tmp_path / "dark", brightness=50)
    rewrite(folder, lambda info: info.update(map_divisor=50.0, precision="bf16"))
    write_checksums(folder)
    return folder


def _version(folder: Path, brightness: float = 100) -> Path:
    folder.mkdir()
    save_version(folder, brightness)
    write_checksums(folder)
    return folder


def _put_together(members: dict[str, Path], folder: Path) -> Detector:
    """Assemble, and calibrate by hand: members are averaged on the scales that they have themselves."""
    trained = assemble(members, folder)
    first = read_info(next(iter(members.values())))
    divisors = [{"name": name, "divisor": read_info(members[name]).map_divisor} for name in trained.members]
    own = {"algorithm": ENSEMBLE, "members": divisors, "map_divisor": 1.0, "image_divisor": 1.0}
    info = VersionInfo.model_validate({**first.model_dump(), **own, "references": (), "schema_version": SCHEMA})
    (folder / "model.json").write_text(info.model_dump_json())
    return Detector(folder)


@pytest.fixture
def region() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (3 * TILE, 2 * TILE, 3)).astype(np.uint8)


def test_one_member_is_that_version(bright: Path, region: NDArray[np.uint8], tmp_path: Path) -> None:
    found = _put_together({"padim": bright}, tmp_path / "one").scan_region(region)
    expected = Detector(bright).scan_region(region)
    np.testing.assert_allclose(found.map, expected.map, rtol=1e-6)
    assert found.score == pytest.approx(expected.score, rel=1e-6)


def test_the_map_is_the_mean_of_the_members_on_their_own_scales(
    bright: Path, dark: Path, region: NDArray[np.uint8], tmp_path: Path
) -> None:
    found = _put_together({"padim": bright, "fastflow": dark}, tmp_path / "both").scan_region(region)
    one, other = (Detector(folder).scan_region(region).map for folder in (bright, dark))
    assert not np.allclose(one, other)
    np.testing.assert_allclose(found.map, (one.astype(np.float64) + other) / 2, rtol=1e-5)


def test_it_is_whole_without_the_versions_that_it_is_made_of(bright: Path, dark: Path, tmp_path: Path) -> None:
    detector = _put_together({"padim": bright, "fastflow": dark}, tmp_path / "both")
    assert detector.references == 4
    for file in (*bright.rglob("*.*"), *dark.rglob("*.*")):
        file.unlink()
    Detector(tmp_path / "both").check_references()


@pytest.mark.parametrize("attack", [raise_threshold, spoil_weights])
def test_a_damaged_member_is_refused_and_so_is_an_ensemble_damaged_later(
    bright: Path, dark: Path, tmp_path: Path, attack: Attack
) -> None:
    folder = tmp_path / "both"
    _put_together({"padim": bright, "fastflow": dark}, folder)
    registered = write_checksums(folder)
    place = folder / "members/fastflow"
    # Not through the shared file: the member itself stays as it is.
    for file in [file for file in place.rglob("*") if file.is_file()]:
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
    attack(place)
    with pytest.raises(ModelError, match=r"members/fastflow/model.* was changed"):
        Detector(folder, registered=registered)
    attack(bright)
    with pytest.raises(ModelError, match=r"was changed"):
        assemble({"padim": bright}, tmp_path / "again")


def test_each_member_scores_its_own_reference_tiles(bright: Path, dark: Path, tmp_path: Path) -> None:
    detector = _put_together({"padim": bright, "fastflow": dark}, tmp_path / "both")
    spoil_weights(tmp_path / "both/members/fastflow")
    with pytest.raises(ModelError, match=r"members/fastflow: tile 0.png"):
        Detector(detector.folder).check_references()


def test_it_is_as_exact_as_its_least_exact_member(bright: Path, dark: Path, tmp_path: Path) -> None:
    assert assemble({"padim": bright}, tmp_path / "one").precision == Precision.F32
    assert assemble({"padim": bright, "fastflow": dark}, tmp_path / "both").precision == Precision.BF16


def test_no_member_is_no_ensemble(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="needs a member"):
        assemble({}, tmp_path / "none")


@pytest.mark.parametrize("name", ["../padim", "/padim", "Padim", ""])
def test_a_members_name_leads_nowhere_else(name: str, bright: Path) -> None:
    rewrite(bright, lambda info: info.update(members=[{"name": name, "divisor": 1}]))
    (bright / "checksums.json").unlink()
    with pytest.raises(ModelError, match="members"):
        read_info(bright)


def test_files_of_members_are_on_the_disk_once(bright: Path, dark: Path, tmp_path: Path) -> None:
    """As in the registry, where the folder was copied to; what differs is not replaced."""
    _put_together({"padim": bright, "fastflow": dark}, tmp_path / "made")
    registered = Path(shutil.copytree(tmp_path / "made", tmp_path / "registered"))
    spoil_weights(dark)
    before = Detector(registered).folder
    assert share_files(before, {"padim": bright, "fastflow": dark}) > 0
    assert (registered / "members/padim/model.bin").samefile(bright / "model.bin")
    assert not (registered / "members/fastflow/model.bin").samefile(dark / "model.bin")
    Detector(registered).check_references()
