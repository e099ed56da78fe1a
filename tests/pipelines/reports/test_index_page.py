"""The page of all results: escaped, loading nothing, and leading only to what is there."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines.core.records import Interval
from pipelines.core.results import CalibratedThreshold, VersionSummary
from pipelines.reports.folders import RunNote, claim_folder, write_note
from pipelines.reports.overview.index_page import Servers, render_index
from pipelines.reports.overview.surface_card import (
    ChampionNote,
    DecisionNote,
    DriftNote,
    InspectionNote,
    ModelsNote,
    SurfaceCard,
    read_card,
    write_card,
)

HOSTILE = "\"'><script>alert(1)</script><img src=https://evil.example/x>"
MORNING = datetime(2026, 11, 30, 9, 15, tzinfo=UTC)
SERVERS = Servers("http://127.0.0.1:5000", "http://127.0.0.1:4200")


class References(HTMLParser):
    """Collect tags, what a page loads by itself, and what it links to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in {"src", "srcset", "data", "action", "poster", "background", "href", "xlink:href"}:
                (self.linked if tag == "a" else self.loaded).append(value or "")


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A project's reports: two surfaces, of which one has a champion, a run, a decision and an inspection."""
    reports = tmp_path / "data" / "reports"
    note = RunNote(run_id="a" * 32, title=HOSTILE, started=MORNING, experiment=HOSTILE, flow_run=HOSTILE)
    folder = claim_folder(reports / "oak", note.model_copy(update={"outcome": HOSTILE}))
    for page in (folder / "index.html", reports / "oak/decisions/0001.html", reports / "oak/inspect/report.html"):
        page.parent.mkdir(exist_ok=True)
        page.touch()
    return reports


def card(folder: str = "", **more: object) -> SurfaceCard:
    summary = VersionSummary(
        algorithm="padim",
        version=3,
        run_id="b" * 32,
        metrics={"image_auroc": Interval(value=0.91, low=0.88, high=0.94)},
        image_threshold=CalibratedThreshold(threshold=1.25, target_rate=0.01, achieved_rate=0.01, images=120),
        tiles=1,
        seconds=1,
        peak_rss_mb=1,
        folder_mb=1,
    )
    champion = ChampionNote(
        version=3, algorithm=HOSTILE, run_id="b" * 32, summary=summary, page=folder, experiment=HOSTILE,
        picture="data:image/jpeg;base64,AA==",
    )  # fmt: skip
    models = ModelsNote(
        versions=3,
        champion=champion,
        hold=HOSTILE,
        decisions=(DecisionNote(number=1, time=MORNING, summary=HOSTILE),),
    )
    found = SurfaceCard(
        surface="oak",
        models=models,
        inspection=InspectionNote(
            time=MORNING, model=HOSTILE, images=9, anomalous=2, unread=1, page="oak/inspect/report.html"
        ),
        drift=DriftNote(time=MORNING, version=3, batch=HOSTILE, kind="content", message=HOSTILE, review="data"),
    )
    return found.model_copy(update=more)


def test_every_text_is_escaped_and_the_page_loads_nothing(reports: Path) -> None:
    html = render_index(reports, [card()], SERVERS)
    found = References(html)
    assert not {"script", "iframe", "link", "form", "object"} & found.tags
    assert [reference[:16] for reference in found.loaded] == ["data:image/jpeg;"]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert not re.search(r"@import|url\(", html)
    outside = [link for link in found.linked if "//" in link]
    assert all(link.startswith(("http://127.0.0.1:5000/#/", "http://127.0.0.1:4200/flow-runs/")) for link in outside)
    assert len(outside) == 4
    assert "0.910 (0.880 to 0.940)" in html
    assert "At most 1 % of normal images are flagged" in html


def test_every_link_to_a_file_leads_to_one(reports: Path) -> None:
    found = References(render_index(reports, [card(), SurfaceCard(surface="ash")], SERVERS))
    files = [link for link in found.linked if "//" not in link and not link.startswith("#")]
    assert {"oak/decisions/0001.html", "oak/inspect/report.html"} < set(files)
    assert all((reports / link).exists() for link in files)
    assert {"#oak", "#ash"} <= set(found.linked)


def test_no_card_links_out_of_the_project(reports: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    for page in (outside / "index.html", tmp_path.parent / "x.html"):
        page.touch()
    named = f"../../../../{outside.name}"
    inspection = InspectionNote(time=MORNING, model="", images=1, anomalous=0, unread=0, page=f"{named[3:]}/index.html")
    drift = DriftNote(time=MORNING, version=3, batch="", kind="content", review=f"../{outside.name}")
    html = render_index(reports, [card(named, inspection=inspection, drift=drift)], SERVERS)
    assert outside.name not in html


def test_without_a_labelled_image_the_page_says_that_figures_are_not_known(reports: Path) -> None:
    known = card()
    assert known.models
    assert known.models.champion
    assert known.models.champion.summary
    summary = known.models.champion.summary.model_copy(update={"metrics": {}})
    for found, said in ((summary, "No test image carries a label"), (None, "Its figures are not kept")):
        champion = known.models.champion.model_copy(update={"summary": found})
        models = known.models.model_copy(update={"champion": champion})
        assert said in render_index(reports, [card(models=models)], SERVERS)


def test_what_is_not_known_is_said(reports: Path) -> None:
    for models, said in (
        (None, "No version is known here yet"),
        (ModelsNote(), "Nothing is trained yet"),
        (ModelsNote(versions=2), "None of 2 versions is in use"),
    ):
        assert said in render_index(reports, [SurfaceCard(surface="ash", models=models)], SERVERS)
    assert "There is no surface yet" in render_index(reports, [], SERVERS)


def test_without_a_version_in_use_the_page_says_what_is_waited_for(reports: Path) -> None:
    def said(**models: int) -> str:
        return render_index(reports, [SurfaceCard(surface="ash", models=ModelsNote(versions=2, **models))], SERVERS)

    running = RunNote(run_id="a" * 32, title="retrain quick", started=MORNING)
    folder = claim_folder(reports / "ash", running)
    claim_folder(reports / "ash", RunNote(run_id="b" * 32, title="trial wide", started=datetime.now(UTC)))
    html = said()
    assert "retrain quick of 30 Nov 2026, 09:15 UTC is under way, 2 versions registered so far" in html
    assert "None of" not in html
    assert "version 2 is proposed and waits for a decision: <code>knotwatch promote ash" in said(challenger=2)
    write_note(folder, running.model_copy(update={"outcome": "nothing is proposed"}))
    assert "None of 2 versions is in use" in said()


def test_a_stopped_run_offers_its_command_until_a_later_one_has_ended(reports: Path) -> None:
    again = "knotwatch retrain ash --profile quick"
    stopped = RunNote(run_id="a" * 32, title="retrain quick", started=MORNING, outcome="stopped", again=again)
    claim_folder(reports / "ash", stopped)
    offered = f"not finished: stopped; to go on: <code>{again}"
    later = RunNote(run_id="b" * 32, title="retrain full", started=datetime.now(UTC), outcome="version 1 accepted")
    folder = claim_folder(reports / "ash", later)
    assert offered in render_index(reports, [SurfaceCard(surface="ash")], SERVERS)
    write_note(folder, later.model_copy(update={"title": "retrain quick"}))
    html = render_index(reports, [SurfaceCard(surface="ash")], SERVERS)
    assert "not finished: stopped" in html
    assert again not in html


def test_a_card_comes_back_as_it_was_and_a_damaged_one_is_empty(reports: Path) -> None:
    write_card(reports / "oak", card())
    assert read_card(reports / "oak") == card()
    file = reports / "oak" / "overview.json"
    # A picture is data: what somebody else wrote there must not be fetched.
    file.write_text(file.read_text().replace("data:image/jpeg;base64,AA==", "https://evil.example/x.jpg"))
    assert read_card(reports / "oak") == SurfaceCard(surface="oak")
