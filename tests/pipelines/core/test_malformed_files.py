"""A file that makes no sense is refused in one sentence that names it, whatever is wrong inside."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows.study.outlines import read_outlines
from pipelines.core.errors import CallError, KnotwatchError
from pipelines.core.records import Layout
from pipelines.core.settings import read_yaml
from pipelines.data.intake import note_arrivals
from pipelines.data.layouts import read_source
from pipelines.data.layouts.table import read_table
from pipelines.data.prepared import read_index
from pipelines.data.review import read_review
from pipelines.data.review_ledger import read_reviews
from tests.pipelines.hostile import index_row, review_row, write_csv, write_file

DEEP = "[" * 100_000 + "]" * 100_000
LAUGHS = "a: &a [1, 2]\n" + "".join(f"{y}: &{y} [*{x}, *{x}, *{x}, *{x}]\n" for x, y in pairwise("abcdefghi"))
SQUARE = [[5, 5], [5, 9], [9, 9]]


def judged(**facts: Any) -> dict[str, Any]:
    own = {"path": "a.png", "sha256": "0" * 64, "width": 48, "height": 36, "drawn": "score", "missed": False}
    return {**own, "defects": [], **facts}


def outlined(*corner: object) -> dict[str, Any]:
    return judged(defects=[{"outline": [*SQUARE, corner], "verdict": "confirmed"}])


def types(count: int) -> list[dict[str, Any]]:
    return [{"outline": SQUARE, "verdict": "confirmed", "type": f"type {n}"} for n in range(count)]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (outlined(10**12, 5), "lies outside of 48 x 36 pixels"),
        (outlined(5, 36), "lies outside of 48 x 36 pixels"),
        (outlined(-1, 5), "lies outside of 48 x 36 pixels"),
        (outlined(10**30, 5), "is no review"),
        (outlined(float("nan"), 5), "outline"),
        (judged(width=10**12), "less than or equal to"),
        (judged(path="a\0.png"), "path"),
        (judged(path=""), "path"),
        (judged(defects=types(256)), "256 types on one image"),
        (judged(sha256="../../../x"), "sha256"),
    ],
)
def test_a_review_that_fits_no_image(tmp_path: Path, image: dict[str, Any], said: str) -> None:
    kind = {"kind": "knotwatch review", "schema_version": 1, "surface": "oak", "model": "oak/1", "reviewed": "now"}
    file = write_file(tmp_path / "review.json", json.dumps({**kind, "images": [image]}))
    refuses(lambda: read_review(file), file, said)


def test_a_review_of_brackets(tmp_path: Path) -> None:
    file = write_file(tmp_path / "review.json", DEEP)
    refuses(lambda: read_review(file), file, "no review")


@pytest.mark.parametrize(
    "cells",
    [
        {"defects": DEEP[:2000]},
        {"defects": DEEP},
        {"rejected": DEEP},
        {"defects": '{"256": "knot"}'},
        {"defects": '{"0": "knot"}'},
        {"defects": json.dumps(dict.fromkeys(range(1, 300), "knot"))},
        {"defects": "9" * 5000},
        {"rejected": "[[0, 0, 1000000000000, 4]]"},
        {"rejected": "[[5, 5, 4, 4]]"},
        {"rejected": "[[NaN, 0, 4, 4]]"},
        {"label": "nonsense"},
        {"image": "reviews/reviews.csv"},
        {"image": "images/a.png"},
    ],
    ids=lambda cells: str(cells)[:40],
)
def test_a_damaged_table_of_reviews(tmp_path: Path, cells: dict[str, object]) -> None:
    write_csv(tmp_path / "reviews/reviews.csv", review_row(**cells))
    refuses(lambda: read_reviews(tmp_path), tmp_path / "reviews/reviews.csv", "damaged")


@pytest.mark.parametrize(
    "cells",
    [
        {"defects": DEEP[:2000]},
        {"defects": '{"256": "knot"}'},
        {"right": 10**12},
        {"left": -1},
        {"width": "many"},
        {"split": "nonsense"},
        {"rejected": "[[0, 0, 1000000000000, 4]]"},
    ],
    ids=lambda cells: str(cells)[:40],
)
def test_a_damaged_index_of_prepared_images(tmp_path: Path, cells: dict[str, object]) -> None:
    write_csv(tmp_path / "index.csv", index_row(**cells))
    refuses(lambda: read_index(tmp_path), tmp_path / "index.csv", "damaged")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + DEEP[:2000], "deep"),
        ("a: " + DEEP, "deep"),
        ("a: " + "{a: " * 1000, "deep"),
        (LAUGHS, "anchors"),
        ("a: &x 1\nb: {<<: *x}\n", "anchors"),
        ("a: 2020-13-45", "cannot be read"),
        ("a: !!int ''", "cannot be read"),
        ("a: !!bool maybe", "cannot be read"),
        ("a: !!timestamp now", "cannot be read"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("a: " + "9" * 5000, "a number of 5,000 characters"),
        ("a: 0x" + "f" * 5000, "a number of 5,002 characters"),
        # To base 60: this one alone would take minutes.
        ("a: " + ":".join(["59"] * 600_000), "a number of 1,799,999 characters"),
        ("a: [1\0]", "not valid YAML"),
    ],
    ids=lambda text: text[:30],
)
def test_settings_that_are_no_plain_yaml(tmp_path: Path, text: str, said: str) -> None:
    file = write_file(tmp_path / "oak.yaml", text)
    refuses(lambda: read_yaml(file), file, said)


def test_more_types_than_a_mask_can_hold(tmp_path: Path) -> None:
    write_file(tmp_path / "images/a.png")
    write_file(tmp_path / "defects.json", json.dumps({n: f"type {n}" for n in range(1, 300)}))
    cells = {"image": "images/a.png", "mask": "", "condition": "", "defects": " ".join(map(str, range(1, 300)))}
    write_csv(tmp_path / "labels.csv", cells)
    refuses(lambda: read_source(Layout.PROCEDURAL, tmp_path), tmp_path, "less than or equal to 255")
    write_file(tmp_path / "defects.json", DEEP)
    refuses(lambda: read_source(Layout.PROCEDURAL, tmp_path), tmp_path, "damaged")


@pytest.mark.parametrize(
    "text", ["path,arrival\na.png,soon\n", "a,b\n1,2\n", "", "\xff\xfe", "path,arrival\na.png,1e30\n"]
)
def test_a_damaged_order_of_arrival(tmp_path: Path, text: str) -> None:
    write_file(tmp_path / "source/a.png")
    (tmp_path / "ledger").mkdir()
    table = tmp_path / "ledger/arrivals.csv"
    table.write_bytes(text.encode("latin-1"))
    refuses(lambda: note_arrivals(Layout.UNLABELLED, tmp_path / "source", table), table, "damaged")


@pytest.mark.parametrize("corner", [[1e300, 0], [float("inf"), 0], ["x", 0]])
def test_an_outline_without_end(tmp_path: Path, corner: list[object]) -> None:
    write_file(tmp_path / "a.png")
    outline = {"label": "knot", "polygon": [[0, 0], [0, 5], corner]}
    file = write_file(tmp_path / "annotations.json", json.dumps({"images": {"a.png": [outline]}}))
    refuses(lambda: read_outlines(file, tmp_path), file, "no outlines")


def refuses(read: Any, file: Path, said: str) -> None:
    with pytest.raises(KnotwatchError) as refused:
        read()
    assert str(file) in refused.value.problem
    assert said in refused.value.problem
    assert len(refused.value.problem) < 1000


def test_a_review_of_a_hundred_thousand_faults_is_refused_by_the_first(tmp_path: Path) -> None:
    said = {"kind": "knotwatch review", "schema_version": 1, "surface": "oak", "model": "m", "reviewed": "x"}
    file = write_file(tmp_path / "review.json", json.dumps({**said, "images": [{}] * 100_000}))
    with pytest.raises(CallError, match=r"images\.0\.") as refused:
        read_review(file)
    assert isinstance(refused.value.__cause__, ValidationError)
    assert refused.value.__cause__.error_count() < 20


def test_a_table_of_a_hundred_thousand_columns_is_read_or_refused_at_once(tmp_path: Path) -> None:
    columns = [f"c{number}" for number in range(100_000)]
    wide = write_file(tmp_path / "labels.csv", ",".join(["image", *columns]) + "\na.png\n")
    assert read_table(wide, ["image"])[0].cells["image"] == "a.png"
    wide.write_text(",".join(["image", *columns, "c99999"]) + "\n")
    refuses(lambda: read_table(wide, ["image"]), wide, "two columns 'c99999'")
