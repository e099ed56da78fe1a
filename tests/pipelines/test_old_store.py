"""Versions that 0.1.0 registered load and score as they did."""

import logging
from pathlib import Path

import pytest

from pipelines.core.paths import Project
from pipelines.imaging.decoding import decode_image
from pipelines.loader import Detector
from pipelines.tracking.store import Tracking
from tests.old_store import SURFACE, old_answer, upgrade_old


@pytest.fixture
def old(tmp_path: Path) -> Project:
    return upgrade_old(tmp_path / "project")


def test_the_scores_are_those_of_before_and_the_missing_checksums_are_told_once(
    old: Project, caplog: pytest.LogCaptureFixture
) -> None:
    tracking = Tracking(old)
    images = old.surface(SURFACE).source / "images"
    for version in tracking.versions(SURFACE):
        with caplog.at_level(logging.WARNING):
            folders = [tracking.folder(SURFACE, version.version) for _ in range(2)]
        assert [r.args[1] for r in caplog.records if r.args and "checksums" in r.msg].count(version.version) == 1
        detector = Detector(folders[0])
        expected = old_answer("scores")[str(version.version)]
        assert version.algorithm == expected["algorithm"]
        for name, before in expected["scores"].items():
            scan = detector.scan(decode_image((images / name).read_bytes(), 200).image)
            now = [scan.score, float(scan.map.mean()), float(scan.map.max()), len(scan.defects)]
            assert now == pytest.approx(before, abs=1e-6), (version.version, name)
    assert {v.version: v.aliases for v in tracking.versions(SURFACE)} == {2: (), 1: ("champion",)}
