"""A study of any folder: what lacks is said in words, what is wrong with its hint."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows import study
from flows.study.drawn import DrawnSize, write_drawn_study
from flows.study.folder import FOLDER, PROFILE, Study
from flows.study.shown import Table, Words
from pipelines.core.errors import CallError, SourceError
from tests.conftest import ROOT

# Raised while great_expectations is imported, by modules of the standard library that it uses.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


@pytest.fixture
def bare(tmp_path: Path) -> Study:
    """A folder of one image and one broken file, without outlines or crops."""
    (tmp_path / "slices" / "raw").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(90, 160, (64, 96, 3), np.uint8)
    for number in range(24):
        Image.fromarray(np.roll(pixels, 3 * number)).save(tmp_path / "slices" / "raw" / f"{number} <b>.png")
    (tmp_path / "slices" / "raw" / "cut.jpg").write_bytes(b"\xff\xd8 no more")
    return study.open_study(tmp_path / "slices", tmp_path / "scratch")


def test_without_outlines_and_crops_their_figures_are_left_out_in_words(bare: Study) -> None:
    assert bare.describe() == "slices: 25 images; no outlines; no crops."
    prepared = study.prepare(bare)
    for shown in (
        study.show_figures(bare, ()),
        study.leave_one_out(bare, prepared, ()),
        study.try_otherwise(bare, prepared),
    ):
        assert isinstance(shown, Words)
        assert "no annotations.json" in shown.message
    assert isinstance(study.tabulate_types(study.hold_out_crops(prepared)), Words)
    listed = study.tabulate_images(prepared)
    assert "24 of 25 images can be used" in listed.message
    assert "cut.jpg: " in listed.message


def test_names_from_outside_are_escaped() -> None:
    table = Table(("a<b>", "c"), (("<i>", "x & y"),), "<script>")
    assert "<i>" not in table._repr_mimebundle_()[0]["text/html"]
    assert "<script>" not in table._repr_mimebundle_()[0]["text/html"]
    assert "x &amp; y" in table._repr_mimebundle_()[0]["text/html"]


def test_a_drawn_study_lies_as_a_real_one_and_is_always_the_same(tmp_path: Path) -> None:
    size = DrawnSize(slices=3, height=96, width=128, crops=3)
    for name in ("one", "two"):
        write_drawn_study(tmp_path / name, size)
    opened = study.open_study(tmp_path / "one", tmp_path)
    assert opened.describe().startswith("one: 3 images; ")
    assert set(opened.outlines) == {"walnut-1.png", "alder-3.png"}
    files = [p.relative_to(tmp_path / "one") for p in sorted((tmp_path / "one").rglob("*")) if p.is_file()]
    assert len(files) == 3 + 1 + 9
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)


def test_a_wrong_call_names_the_folder_and_the_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="holds no images in raw/"):
        study.open_study(tmp_path, tmp_path)
    monkeypatch.setenv(PROFILE, "slow")
    with pytest.raises(CallError, match="'slow'"):
        study.from_environment()
    monkeypatch.setenv(PROFILE, "quick")
    monkeypatch.setenv(FOLDER, str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="nowhere is not a folder"):
        study.from_environment()


@pytest.mark.services
def test_the_command_refuses_to_commit_real_images(bare: Study) -> None:
    command = [sys.executable, "-m", "flows.study", str(bare.folder), "--notebook"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "drawn slices only" in done.stderr
    assert "What to do:" in done.stderr
