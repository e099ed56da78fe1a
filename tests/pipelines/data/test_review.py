"""The stage `review`: from the file that a page saved to images, masks and a table."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.core.errors import CallError, ImageError, SourceError
from pipelines.core.geometry import Box
from pipelines.core.records import Label
from pipelines.data.review import Review, find_reviewed, read_review, take_review
from pipelines.data.review_ledger import read_reviews

SQUARE = [[5, 5], [5, 14], [19, 14], [19, 5]]


def paint(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (36, 48, 3)).astype(np.uint8)).save(path)
    return path


def judge(image: Path, *verdicts: tuple[str, str | None], **facts: Any) -> dict[str, Any]:
    """Judge an image whose n-th outline is a square, n x 10 pixels from the left."""
    outlines = [[[x + 10 * n, y] for x, y in SQUARE] for n in range(len(verdicts))]
    defects = [{"outline": o, "verdict": v, "type": t} for o, (v, t) in zip(outlines, verdicts, strict=True)]
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    found = {"path": str(image), "sha256": digest, "width": 48, "height": 36, "drawn": "score", "missed": False}
    return {**found, "defects": defects, **facts}


def save(*images: dict[str, Any], **facts: Any) -> Review:
    content = {"kind": "knotwatch review", "schema_version": 1, "surface": "oak", "model": "oak/1", "reviewed": "now"}
    return Review.model_validate_json(json.dumps({**content, "images": images, **facts}))


def test_confirmed_regions_become_a_mask_of_their_types(tmp_path: Path) -> None:
    image = paint(tmp_path / "line 1/bo ard.PNG")
    judged = judge(image, ("confirmed", "knot"), ("rejected", None), ("confirmed", None))
    (taken,) = take_review(save(judged), [image], tmp_path / "ledger", 200)
    assert read_reviews(tmp_path / "ledger") == [taken]
    assert (taken.label, taken.declared_split, taken.defects) == (Label.ANOMALOUS, "test", {1: "defect", 2: "knot"})
    assert taken.image == f"reviews/photographs/bo_ard-{judged['sha256'][:8]}.png"
    assert (tmp_path / "ledger" / taken.image).read_bytes() == image.read_bytes()
    with Image.open(tmp_path / "ledger" / str(taken.mask)) as file:
        mask = np.asarray(file)
    expected = np.zeros((36, 48), np.uint8)
    expected[5:15, 25:40] = 1
    expected[5:15, 5:20] = 2
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("drawn", "verdicts", "missed", "expected"),
    [
        ("score", [("rejected", None)], False, ("normal", "only train")),
        ("random", [("rejected", None)], False, ("normal", "only calibration")),
        ("random", [], False, ("normal", "only calibration")),
        ("random", [("confirmed", None)], False, ("anomalous", "test")),
        ("score", [], True, ("anomalous", "test")),
        ("score", [("confirmed", None)], True, ("anomalous", "test")),
    ],
)
def test_what_was_found_and_how_it_was_drawn_decide_the_split(
    tmp_path: Path, drawn: str, verdicts: list[tuple[str, str | None]], missed: bool, expected: tuple[str, str]
) -> None:
    image = paint(tmp_path / "a.png")
    review = save(judge(image, *verdicts, drawn=drawn, missed=missed))
    (taken,) = take_review(review, [image], tmp_path / "ledger", 200)
    assert (taken.label, taken.declared_split) == expected
    assert (taken.mask is None) == (expected[0] == "normal" or missed), "a mask must show every defect or not be there"


def test_what_was_rejected_is_kept_as_boxes(tmp_path: Path) -> None:
    image, ledger = paint(tmp_path / "a.png"), tmp_path / "ledger"
    review = save(judge(image, ("rejected", None), ("confirmed", "knot"), ("rejected", "crack")))
    take_review(review, [image], ledger, 200)
    (known,) = read_reviews(ledger)
    assert known.rejected == (Box(5, 5, 20, 15), Box(25, 5, 40, 15))
    table = ledger / "reviews/reviews.csv"
    frame = pd.read_csv(table, keep_default_na=False).drop(columns="rejected")
    frame.to_csv(table, index=False)
    (older,) = read_reviews(ledger)
    assert older == known.model_copy(update={"rejected": ()}), "a table of before they were kept must stay readable"


def test_what_the_model_could_not_name_has_no_type(tmp_path: Path) -> None:
    image = paint(tmp_path / "a.png")
    review = save(judge(image, ("confirmed", "unknown"), ("confirmed", "normal")))
    assert take_review(review, [image], tmp_path / "ledger", 200)[0].defects == {1: "defect"}


def test_the_later_review_wins_and_the_split_stays(tmp_path: Path) -> None:
    ledger, image = tmp_path / "ledger", paint(tmp_path / "a.png")
    files = [image]
    take_review(save(judge(image, ("rejected", None), drawn="random")), files, ledger, 200)
    (again,) = take_review(save(judge(image, ("rejected", None))), files, ledger, 200)
    assert (again.label, again.declared_split) == (Label.NORMAL, "only calibration")
    (found,) = take_review(save(judge(image, ("confirmed", "knot"))), files, ledger, 200)
    first_mask = ledger / str(found.mask)
    (other,) = take_review(save(judge(image, ("confirmed", "knot"), ("confirmed", "crack"))), files, ledger, 200)
    assert other.mask != found.mask
    assert not first_mask.exists()
    (back,) = take_review(save(judge(image, ("rejected", None))), files, ledger, 200)
    assert (back.label, back.declared_split, back.mask) == (Label.NORMAL, "test", None)
    assert read_reviews(ledger) == [back]
    assert len([p for p in (ledger / "reviews").rglob("*") if p.is_file()]) == 2


def test_a_review_that_fails_leaves_the_earlier_ones(tmp_path: Path) -> None:
    ledger, first, second = tmp_path / "ledger", paint(tmp_path / "a.png"), paint(tmp_path / "b.png", 1)
    take_review(save(judge(first, ("confirmed", None))), [first], ledger, 200)
    before = {p: p.read_bytes() for p in ledger.rglob("*") if p.is_file()}
    broken = save(judge(first, ("rejected", None)), judge(second, width=47))
    with pytest.raises(ImageError, match="48 x 36, the review shows 47 x 36"):
        take_review(broken, [first, second], ledger, 200)
    assert {p: p.read_bytes() for p in ledger.rglob("*") if p.is_file()} == before


def test_images_are_known_by_their_content_wherever_they_are(tmp_path: Path) -> None:
    image = paint(tmp_path / "in/a.png")
    review = save(judge(image, ("rejected", None)) | {"path": "in/a.png"})
    assert find_reviewed(review, tmp_path) == [image]
    moved = paint(tmp_path / "elsewhere/deep/a.png")
    paint(image, 5)
    with pytest.raises(CallError, match=r"1 of 1 images are not there as they were: in/a\.png"):
        find_reviewed(review, tmp_path)
    assert find_reviewed(review, tmp_path, [tmp_path / "elsewhere"]) == [moved]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", "Invalid JSON"),
        ('{"kind": "something"}', "kind"),
        (json.dumps({"kind": "knotwatch review", "schema_version": 2}), "schema_version"),
    ],
)
def test_what_is_no_review_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "review.json"
    file.write_text(text)
    with pytest.raises(CallError, match=said):
        read_review(file)
    with pytest.raises(CallError, match="cannot be read"):
        read_review(tmp_path / "absent.json")


def test_a_types_name_cannot_hold_control_characters(tmp_path: Path) -> None:
    image = paint(tmp_path / "a.png")
    with pytest.raises(ValueError, match="type"):
        save(judge(image, ("confirmed", "knot\nhidden")))


def test_outlines_that_would_take_hours_to_fill_are_refused(tmp_path: Path) -> None:
    """83 kB of zigzag over 8,000 rows took 18 seconds, and four times as much sixteen times as long."""
    judged = {**judge(paint(tmp_path / "a.png")), "width": 8000, "height": 8000}
    zigzag = [[i * 7919 % 8000, 7999 * (i % 2)] for i in range(8000)]
    whole = [[0, 0], [7999, 0], [7999, 7999], [0, 7999]]
    for outlines in ([zigzag], [whole] * 800):
        defects = [{"outline": outline, "verdict": "confirmed", "type": None} for outline in outlines]
        with pytest.raises(ValueError, match="too many or too jagged"):
            save({**judged, "defects": defects})


@pytest.mark.parametrize("place", ["image", "mask"])
def test_a_ledger_of_somebody_else_writes_nothing_outside(tmp_path: Path, place: str) -> None:
    image, ledger = paint(tmp_path / "photographs/a.png"), tmp_path / "project/data/raw/oak/ledger"
    review = save(judge(image, ("confirmed", None)))
    take_review(review, [image], ledger, 200)
    table = ledger / "reviews/reviews.csv"
    known = pd.read_csv(table, keep_default_na=False)
    table.write_text(known.assign(**{place: "reviews/../../../../../../stolen.png"}).to_csv(index=False))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(SourceError, match="leads out of the folder"):
        take_review(review, [image], ledger, 200)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_link_in_a_ledger_writes_nothing_outside(tmp_path: Path) -> None:
    image, ledger, outside = paint(tmp_path / "a.png"), tmp_path / "ledger", tmp_path / "outside"
    (ledger / "reviews").mkdir(parents=True)
    outside.mkdir()
    (ledger / "reviews/photographs").symlink_to(outside)
    with pytest.raises(SourceError, match="leads out of the folder"):
        take_review(save(judge(image, ("rejected", None))), [image], ledger, 200)
    assert not list(outside.iterdir())


def test_an_image_odd_name_is_none_in_the_ledger(tmp_path: Path) -> None:
    for name in (f"{'木' * 80}.png", "a.p\nng", f"a.{'x' * 200}", "a\\..\\b.png"):
        image = tmp_path / name
        paint(tmp_path / "a.png").rename(image)
        (taken,) = take_review(save(judge(image, ("confirmed", None))), [image], tmp_path / "ledger", 200)
        assert (tmp_path / "ledger" / taken.image).read_bytes() == image.read_bytes()
