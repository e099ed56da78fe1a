"""The page that sets a retrain's algorithms side by side."""

import re
from pathlib import Path

import pytest

from pipelines.core.records import Interval, Label
from pipelines.core.results import CalibratedThreshold, Failure, Selection, VersionSummary
from pipelines.reports.comparison import ComparisonPage, folder_size_mb, render_comparison
from pipelines.reports.side_by_side import ImageSeen, Seen
from pipelines.training.choosing.figures import flatten_selection

HOSTILE = "<script>alert(1)</script>"


def compared(algorithm: str, value: float, **more: object) -> VersionSummary:
    return VersionSummary(
        algorithm=algorithm,
        version=3,
        run_id=f"run-of-{algorithm}",
        metrics={"image_auroc": Interval(value=value, low=value - 0.02, high=value + 0.01)},
        validation={"image_auroc": value + 0.03},
        image_threshold=CalibratedThreshold(threshold=1.25, target_rate=0.01, achieved_rate=0.01, images=120),
        tiles=99,
        seconds=12.34,
        peak_rss_mb=1500,
        folder_mb=17.4,
        **more,
    )


@pytest.fixture
def page() -> ComparisonPage:
    return ComparisonPage(
        surface="oak",
        data_version="0a1b",
        profile="quick",
        date="1 May 2025",
        models=(
            compared("padim", 0.9),
            compared("efficientad", 0.95, notes={"teacher": f"bundled {HOSTILE}"}),
        ),
        failed=(Failure(algorithm="fastflow", problem=HOSTILE, hint="mend it"),),
        reused=("padim",),
        proposed="efficientad",
        reason="image AUROC 0.980 on the validation split",
        pages={f"run-of-{name}": f"../2026-{name}/index.html" for name in ("padim", "efficientad")},
    )


def text(page: ComparisonPage) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", render_comparison(page), flags=re.DOTALL).split())


def test_the_page_says_what_is_proposed_and_sets_figures_side_by_side(page: ComparisonPage) -> None:
    said = text(page)
    for expected in (
        "Proposed: efficientad , image AUROC 0.980 on the validation split.",
        "figure padim efficientad, proposed",
        "image AUROC 0.930 0.980",
        "image AUROC 0.900 (0.880 to 0.910) 0.950 (0.930 to 0.960)",
        "version 3, trained before 3 ",
        "At most 1 % of normal images are flagged, on average; set on 120 images.",
        "training, seconds 12.3 12.3",
        "peak memory, MB 1500 1500",
        "computes in f32 f32",
        "size, MB 17.4 17.4",
        "fastflow failed.",
        "mend it",
    ):
        assert expected in said


def test_labelled_anomalies_of_the_validation_split_stand_first(page: ComparisonPage) -> None:
    selection = Selection(
        images=20,
        synthetic=100,
        metrics={"image_auroc": 0.98},
        labelled=7,
        labelled_metrics={"image_auroc": Interval(value=0.8, low=0.7, high=0.9), "aupro": Interval(value=0.5)},
    )
    models = tuple(m.model_copy(update={"validation": flatten_selection(selection)}) for m in page.models[:1])
    assert models[0].figures()["validation_labelled_image_auroc_low"] == 0.7
    said = text(page.model_copy(update={"models": models}))
    assert "7 labelled anomalies against normal images" in said
    assert "AUPRO (to 30 % false positives) 0.500 (no interval)" in said
    assert said.index("0.800 (0.700 to 0.900)") < said.index("with a synthetic anomaly") < said.index("0.980 Reported")
    assert "labelled anomalies against" not in text(page), "there are none"


def test_texts_are_escaped_and_links_lead_to_the_pages_beside_it(page: ComparisonPage) -> None:
    html = render_comparison(page)
    assert "<script" not in html
    assert re.findall(r'href="([^"]*)"', html) == ["../2026-padim/index.html", "../2026-efficientad/index.html"]
    assert not re.search(r"https?://|@import|url\(", html)


def test_a_version_whose_page_is_not_here_is_not_linked(page: ComparisonPage) -> None:
    bare = page.model_copy(update={"pages": {}})
    assert "href" not in render_comparison(bare)
    assert "not in this folder" in text(bare)


def test_the_same_image_is_shown_by_each_algorithm_with_score_and_mistake(page: ComparisonPage) -> None:
    views = tuple(
        Seen(
            algorithm=name, score=score, threshold=1.25, anomalous=score > 1.25, data_uri="data:image/jpeg;base64,AA=="
        )
        for name, score in (("padim", 0.5), ("efficientad", 2.5))
    )
    seen = ImageSeen(path=HOSTILE, label=Label.ANOMALOUS, defects=(HOSTILE,), views=views)
    shown = page.model_copy(update={"side_by_side": (seen,)})
    html = render_comparison(shown)
    assert re.findall(r'<img src="([^"]{10})', html) == ["data:image"] * 2
    assert "<script" not in html
    said = text(shown)
    assert "padim 0.500, not above 1.250: normal, missed" in said
    assert "efficientad 2.500, above 1.250: anomalous " in said


def test_what_is_absent_is_said_to_be(page: ComparisonPage) -> None:
    bare = tuple(m.model_copy(update={"metrics": {}, "validation": {}}) for m in page.models)
    said = text(page.model_copy(update={"models": bare}))
    assert "Metrics are absent" in said
    assert "Absent: the validation split holds no normal image" in said
    nothing = text(page.model_copy(update={"models": (), "proposed": None}))
    assert "no algorithm came to its end" in nothing


def test_a_folders_size_counts_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "reference").mkdir()
    (tmp_path / "model.bin").write_bytes(bytes(1_500_000))
    (tmp_path / "reference/0.png").write_bytes(bytes(500_000))
    assert folder_size_mb(tmp_path) == 2.0
