"""The model card says what was trained, how well it does, and what is not known."""

import pytest

from pipelines.core.geometry import TilePlan
from pipelines.core.records import Interval
from pipelines.core.results import CalibratedThreshold, Evaluation, Parity, Selection, Trained
from pipelines.core.surface_settings import RegionSettings
from pipelines.detector.version import VersionInfo
from pipelines.imaging.image_score import ScoreRule
from pipelines.models.registry import algorithms, find_algorithm
from pipelines.reports.model_card import model_card
from tests.conftest import ROOT

TEMPLATE = ROOT / "mlflow/model_card.md.j2"
PLAN = TilePlan(mode="fit", tile_height=256, tile_width=512)
CALIBRATED = CalibratedThreshold(threshold=1.2, target_rate=0.01, achieved_rate=0.01, images=105)
SELECTION = Selection(images=20, synthetic=40, metrics={"image_auroc": 0.987, "aupro": 0.7})
EVALUATION = Evaluation(metrics={"image_auroc": Interval(value=0.951, low=0.93, high=0.97)}, notes=("No masks.",))


def card(selection: Selection, evaluation: Evaluation) -> str:
    info = VersionInfo(
        surface="oak",
        algorithm="efficientad",
        data_version="0" * 16,
        region=RegionSettings(rule="none"),
        plan=PLAN,
        score_rule=ScoreRule(),
        map_divisor=1,
        image_divisor=1,
        image_threshold=CALIBRATED,
        pixel_threshold=CALIBRATED,
    )
    trained = Trained(
        algorithm="efficientad",
        folder="model",
        plan=PLAN,
        tiles=99,
        seconds=60,
        peak_rss_mb=1500,
        precision="bf16",
        parity=Parity(torch=(1.0, 2.0), exported=(1.0, 2.02), synthetic=(False, True)),
        notes={"teacher": "bundled, distilled from lite0"},
    )
    return model_card(TEMPLATE, info, trained, selection, evaluation, "full", "abc")


@pytest.mark.parametrize(
    "line",
    [
        f"- {find_algorithm('efficientad').about}",
        "- teacher: bundled, distilled from lite0",
        "- The exported network computes in bf16: image scores differ from torch's by 1 % at most, on 2 regions.",
        "- Images: At most 1 % of normal images are flagged, on average; set on 105 images.",
        "| image AUROC | 0.951 | 0.930 to 0.970 | 0.987 |",
        "| AUPRO (to 30 % false positives) | - | - | 0.700 |",
        "- No masks.",
    ],
)
def test_the_card_carries(line: str) -> None:
    assert line in card(SELECTION, EVALUATION).splitlines()


def test_labelled_anomalies_have_a_column_of_their_own() -> None:
    told = {"image_auroc": Interval(value=0.8, low=0.7, high=0.9)}
    lines = card(SELECTION.model_copy(update={"labelled": 7, "labelled_metrics": told}), EVALUATION).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| metric"))
    assert lines[start].endswith("| validation split, synthetic anomalies | validation split, 7 labelled anomalies |")
    assert lines[start + 1 : start + 4] == [
        "| --- | --- | --- | --- | --- |",
        "| image AUROC | 0.951 | 0.930 to 0.970 | 0.987 | 0.800 (0.700 to 0.900) |",
        "| AUPRO (to 30 % false positives) | - | - | 0.700 | - |",
    ]


def test_without_any_figure_the_card_says_so() -> None:
    bare = card(Selection(images=0, synthetic=0), Evaluation())
    assert "None: the data has no labelled test images" in bare
    assert "| metric |" not in bare


def test_every_algorithm_is_described() -> None:
    assert all(algorithm.about for algorithm in algorithms().values())
