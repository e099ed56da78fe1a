"""Verdicts as people read them say which splits are too small for the surface's policy."""

import pytest

from flows.cli.app import run
from flows.dataset.overview import describe
from pipelines.core.paths import Project
from pipelines.core.records import Layout, Split
from pipelines.core.results import SplitSize, ValidationReport
from pipelines.core.surface_settings import PolicySettings, SourceSettings, SurfaceSettings, write_surface


@pytest.fixture
def oak(project: Project) -> Project:
    """A project with a surface that was validated, whose calibration split has 12 images."""
    source = SourceSettings(layout=Layout.FOLDER, path="/nowhere")
    policy = PolicySettings(false_positive_rate=0.02)
    write_surface(project, "oak", SurfaceSettings(source=source, policy=policy))
    sizes = {Split.VALIDATION: SplitSize(images=2, share=0.07), Split.CALIBRATION: SplitSize(images=12, share=0.245)}
    report = ValidationReport(accepted=True, images=60, usable=60, splits=sizes)
    path = project.surface("oak").verdict
    path.parent.mkdir(parents=True)
    path.write_text(report.model_dump_json())
    return project


def test_data_show_says_it_with_the_policy_of_the_surface(oak: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", "oak"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "warning: the calibration split has 12 normal images: a false-positive rate of 2 % takes 49" in said
    assert "152 for calibration" in said
    assert "keeps splits" not in said


def test_a_surface_that_keeps_its_splits_is_told_the_setting(oak: Project) -> None:
    path = oak.surface("oak").settings
    text = path.read_text()
    assert "  small: 300\n" in text
    path.write_text(text.replace("  small: 300\n", ""))
    verdict = describe(oak, "oak").verdict
    assert verdict is not None
    assert "`small: 300` under `split`" in verdict.warnings[-1]
