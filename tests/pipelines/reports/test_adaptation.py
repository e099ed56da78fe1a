from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipelines.core.records import Interval, Strategy
from pipelines.reports.adaptation import AdaptationPage, AdaptedRow, lead_in_words, render_adaptation, write_adaptation
from pipelines.reports.charts.shots import Line, draw_shots_chart

AUROC = Interval(value=0.8, low=0.7, high=0.9)


def _row(strategy: Strategy, shots: int, **metrics: Interval) -> AdaptedRow:
    return AdaptedRow(
        algorithm="padim",
        strategy=strategy,
        shots=shots,
        run_id="r",
        metrics=metrics,
        validation={"image_auroc": 0.75} if shots > 3 else {},
        notes={"prior": "a <b>word</b>"},
        chosen=strategy == Strategy.STATISTICS,
    )


def _page(*rows: AdaptedRow) -> AdaptationPage:
    return AdaptationPage(
        source="boards",
        target="tiles",
        lead="Learning from boards helped.",
        reason="padim by statistics: <reason>",
        guarantee="At most 20 % of normal images are flagged.",
        with_labels="padim scratch",
        data_version="d",
        git_commit=None,
        profile="quick",
        date="today",
        version=3,
        run_id="run",
        used="16 images",
        rows=rows,
    )


def test_the_page_shows_every_strategy_and_escapes_what_is_said(tmp_path: Path) -> None:
    page = _page(_row(Strategy.SCRATCH, 1, image_auroc=AUROC), _row(Strategy.STATISTICS, 16, image_auroc=AUROC))
    written = write_adaptation(page, tmp_path).read_text()
    assert "<reason>" not in written
    assert "&lt;reason&gt;" in written
    assert "<b>word</b>" not in written
    assert "statistics, chosen" in written
    assert "0.800 (0.700 to 0.900)" in written
    assert written.index("Learning from boards helped.") < written.index("<table>")
    assert "http" not in written.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    drawn = ElementTree.parse(tmp_path / "auroc.svg")  # noqa: S314 - our own
    assert drawn.getroot().tag.endswith("svg")


def test_without_labels_figures_are_absent_and_no_chart_is_drawn(tmp_path: Path) -> None:
    write_adaptation(_page(_row(Strategy.STATISTICS, 1)), tmp_path)
    written = (tmp_path / "index.html").read_text()
    assert "no test image carries a label" in written
    assert "of so few images none is held out" in written
    assert not (tmp_path / "auroc.svg").exists()
    assert render_adaptation(_page(_row(Strategy.STATISTICS, 1))) == written


@pytest.mark.parametrize("scratch", [True, False])
@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.1, "boards helped: padim by reuse ranks 0.055 (0.010 to 0.100) higher than padim by scratch"),
        (-0.1, 0.12, "is not shown: padim by reuse ranks 0.010"),
        (-0.2, -0.1, "boards harmed: padim by reuse ranks 0.150 (0.100 to 0.200) lower than padim by scratch"),
    ],
)
def test_the_first_line_says_no_more_than_the_interval(low: float, high: float, said: str, scratch: bool) -> None:
    gain = Interval(value=(low + high) / 2, low=low, high=high)
    chosen, other = ("padim by scratch", "padim by reuse")[:: 1 if scratch else -1]
    found = lead_in_words("boards", chosen, other, scratch=scratch, gain=gain, on_test=True)
    assert said in found
    assert found.endswith(f"; {chosen} was chosen.")


def test_the_chart_rises_with_the_figure_and_keeps_the_order_of_shots() -> None:
    points = ((4, Interval(value=0.6, low=0.5, high=0.7)), (16, AUROC), (64, Interval(value=0.95)))
    drawn = draw_shots_chart([Line("padim <scratch>", points)])
    chart = ElementTree.fromstring(drawn or "")  # noqa: S314 - our own
    dots = [(float(d.get("cx", 0)), float(d.get("cy", 0))) for d in chart.iter() if d.tag.endswith("circle")]
    assert dots == sorted(dots)
    assert [y for _, y in dots] == sorted((y for _, y in dots), reverse=True)
    assert "padim <scratch>" in "".join(chart.itertext())
