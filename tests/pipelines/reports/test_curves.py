"""Charts as files: right where the answer is known, whole SVG, and no text of a user's that could be markup."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from pipelines.reports.charts.curves import draw_curves, rates, write_charts, write_training


def read(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)  # noqa: S314 - our own


def test_rates_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    normal, anomalous = random.normal(0, 1, 40).round(1), random.normal(1, 1, 30).round(1)
    flagged, found = rates(normal, anomalous)
    labels = np.repeat([0, 1], [40, 30])
    fpr, tpr, _ = roc_curve(labels, np.concatenate([normal, anomalous]), drop_intermediate=False)
    assert flagged == pytest.approx(fpr[1:])
    assert found == pytest.approx(tpr[1:])


def test_a_run_gets_the_charts_that_its_images_and_training_allow(tmp_path: Path) -> None:
    write_charts(tmp_path / "one", [0.5, 0.7], [], 1.0)
    write_training(tmp_path / "one", {"validation": ((10, 2.0),)})
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["scores.svg"]
    write_charts(tmp_path / "both", [0.5, 0.7], [0.6, 2.0], 1.0)
    write_training(tmp_path / "both", {"training loss": ((10, 3.0), (20, 1.0)), "validation": ((10, 2.0), (20, 2.5))})
    files = sorted((tmp_path / "both").iterdir())
    assert [file.name for file in files] == ["precision-recall.svg", "roc.svg", "scores.svg", "training.svg"]
    for file in files:
        assert read(file.read_text()).tag == "{http://www.w3.org/2000/svg}svg", file.name


def test_names_are_no_markup() -> None:
    drawn = draw_curves("step", "loss", {"<script>alert(1)</script>": [(0, 1), (1, 0)]})
    assert "<script" not in drawn
    read(drawn)
