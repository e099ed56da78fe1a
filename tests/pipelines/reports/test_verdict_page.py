"""The page of a validation: names cannot end a tag, what cannot be read has no picture, nothing asks outside."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.core.results import Quarantined, Unused, ValidationReport
from pipelines.reports.verdict_page import VerdictPage, render_verdict_page, show_refused, write_verdict_page

EVIL = "</td><script>alert(1)</script>.png"


@pytest.fixture
def report(tmp_path: Path) -> ValidationReport:
    Image.fromarray(np.full((300, 400, 3), 9, np.uint8)).save(tmp_path / "dark.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    bad = [("dark.png", "too dark"), ("torn.png", "cannot be read"), (EVIL, EVIL)]
    return ValidationReport(
        accepted=False,
        images=9,
        usable=5,
        quarantined=tuple(Quarantined(path=path, reason=reason) for path, reason in bad),
        duplicates=(Quarantined(path="copy.png", reason="the same file as one.png"),),
        warnings=(f"2 images nearly repeat {EVIL}",),
        reasons=("33 % are quarantined, above validation.max_quarantined_share",),
        unused=(Unused(reason="in subfolders", count=35, names=(EVIL, "a/b.png")),),
    )


def test_the_page_says_all_and_asks_nobody(tmp_path: Path, report: ValidationReport) -> None:
    refused = show_refused(report.quarantined, tmp_path, 50)
    assert [bool(image.data_uri) for image in refused] == [True, False, False]
    page = VerdictPage(surface="oak", date="1 May 2030", report=report, quarantined=refused)
    text = write_verdict_page(page, tmp_path / "reports/validation.html").read_text()
    assert "<script" not in text
    assert "http" not in text.replace('http-equiv="Content', "")
    for said in ("Nothing is trained on this data", "raise validation.max_quarantined_share", "too dark", "copy.png"):
        assert said in text
    assert "in subfolders" in text
    assert "b.png, …" in text
    fine = report.model_copy(update={"accepted": True, "reasons": ()})
    assert "5 of 9 images usable" in render_verdict_page(page.model_copy(update={"report": fine}))


def test_of_many_images_few_have_a_picture_and_the_rest_is_counted(tmp_path: Path, report: ValidationReport) -> None:
    many = (report.quarantined[0],) * 600
    refused = show_refused(many, tmp_path, 50)
    assert (len(refused), sum(bool(image.data_uri) for image in refused)) == (500, 12)
    page = VerdictPage(
        surface="oak", date="today", report=report.model_copy(update={"quarantined": many}), quarantined=refused
    )
    assert "100 more stand in the verdict" in render_verdict_page(page)
