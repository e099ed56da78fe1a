"""Reviews in the manifest: which part a reviewed image goes to, and what it corrects."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.core.errors import SourceError
from pipelines.core.records import Label, Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings, ValidationSettings
from pipelines.data.intake import note_arrivals
from pipelines.data.review_ledger import Reviewed, raw_file, read_reviews, write_reviews
from pipelines.data.validate import build_manifest, read_arrivals

SETTINGS = SurfaceSettings(
    source=SourceSettings(layout=Layout.UNLABELLED), validation=ValidationSettings(near_duplicate_bits=0)
)


def paint(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    Image.fromarray(rng.integers(60, 220, (36, 48, 3)).astype(np.uint8)).save(path)
    return path


class Raw:
    """An unlabelled surface's raw folder with three images, and what the manifest says of it."""

    def __init__(self, folder: Path) -> None:
        self.source, self.ledger = folder / "source", folder / "ledger"
        self.arrivals = self.ledger / "arrivals.csv"
        for number in range(3):
            paint(self.source / f"{number}.png", number)
        self.note()

    def note(self) -> None:
        note_arrivals(SETTINGS.source.layout, self.source, self.arrivals)

    def review(self, number: int, **facts: object) -> Reviewed:
        """Keep a review of the image of that number, normal unless `facts` say otherwise."""
        image = f"reviews/photographs/{number}.png"
        paint(self.ledger / image, number)
        mask = facts.get("mask")
        if mask:
            drawn = Image.new("L", (48, 36))
            drawn.paste(1, (5, 5, 20, 15))
            (self.ledger / str(mask)).parent.mkdir(parents=True, exist_ok=True)
            drawn.save(self.ledger / str(mask))
        from hashlib import sha256

        found = {"sha256": sha256((self.ledger / image).read_bytes()).hexdigest(), "image": image, "mask": None}
        review = Reviewed.model_validate(
            {**found, "label": "normal", "declared_split": "only train", "defects": {}, **facts}
        )
        kept = [r for r in read_reviews(self.ledger) if r.image != image]
        write_reviews(self.ledger, [*kept, review])
        self.note()
        return review

    def manifest(self, known: pd.DataFrame | None = None) -> pd.DataFrame:
        reviews = read_reviews(self.ledger)
        frame = build_manifest(self.source, read_arrivals(self.arrivals), SETTINGS, known, reviews)
        return frame.set_index("path", drop=False)


KNOT = {"label": "anomalous", "declared_split": "test", "mask": "reviews/masks/m.png", "defects": {1: "knot"}}


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path)


def test_new_images_go_to_the_split_that_their_review_names(raw: Raw) -> None:
    before = raw.manifest()
    for number, facts in ((10, {}), (11, {"declared_split": "only calibration"}), (12, KNOT)):
        raw.review(number, **facts)
    after = raw.manifest()
    added = after.loc[[f"reviews/photographs/{n}.png" for n in (10, 11, 12)]]
    assert added["split"].tolist() == ["train", "calibration", "test"]
    assert added["label"].tolist() == ["normal", "normal", "anomalous"]
    assert added.iloc[2][["defects", "mask_error"]].tolist() == ['{"1": "knot"}', ""]
    assert added.iloc[2]["mask_area"] == pytest.approx(150 / (36 * 48), rel=1e-4)
    columns = [c for c in before.columns if c != "arrival"]
    assert after.loc[before.index, columns].equals(before[columns]), "a review changed other images"


def test_an_image_of_the_source_is_corrected_where_it_is(raw: Raw) -> None:
    raw.review(0, declared_split="only calibration")
    raw.review(1, **KNOT)
    after = raw.manifest()
    assert after["path"].tolist() == ["0.png", "1.png", "2.png"]
    assert after["label"].tolist() == ["normal", "anomalous", "unknown"]
    assert after["split"].tolist() == ["train", "test", "train"], "a trained image must not calibrate"
    assert after.at["1.png", "mask"] == KNOT["mask"]
    # Measured again or taken over, it is the same.
    assert raw.manifest(known=after.reset_index(drop=True)).equals(after)


def test_an_image_that_comes_into_the_source_later_stays_what_its_review_made_it(raw: Raw) -> None:
    raw.review(10, declared_split="only calibration")
    paint(raw.source / "ten.png", 10)
    raw.note()
    after = raw.manifest()
    assert after.at["reviews/photographs/10.png", "split"] == "calibration"
    assert after.at["ten.png", "duplicate_of"] == "reviews/photographs/10.png"
    assert after.at["ten.png", "label"] == "normal", "one image must not have two labels"


def test_a_defect_without_an_outline_makes_an_anomalous_image_without_a_mask(raw: Raw) -> None:
    raw.review(10, label="anomalous", declared_split="test", defects={1: "defect"})
    row = raw.manifest().loc["reviews/photographs/10.png"]
    assert row[["label", "mask", "defects", "split"]].tolist() == ["anomalous", "", '{"1": "defect"}', "test"]


def test_of_confirmed_anomalies_a_part_is_chosen_on_and_stays_there(raw: Raw) -> None:
    for number in range(10, 36):
        raw.review(number, **{**KNOT, "mask": None})
    before = raw.manifest()["split"].loc[lambda s: s.index.str.startswith("reviews/")]
    assert (before == "validation").sum() >= 5
    assert (before == "test").sum() >= 10
    # What is called normal after all keeps its split: the table of reviews goes on to say `test` of it.
    for number in range(10, 36):
        raw.review(number, declared_split="test")
    after = raw.manifest().loc[before.index]
    assert set(after["label"]) == {"normal"}
    assert after["split"].tolist() == before.tolist()
    assert set(after["declared_split"]) == {"test"}, "a manifest of before would be another data version"


def test_the_order_of_arrival_keeps_reviews(raw: Raw) -> None:
    raw.review(10)
    first = raw.arrivals.read_text()
    paint(raw.source / "later.png", 20)
    raw.note()
    assert read_arrivals(raw.arrivals) == {
        "0.png": 1,
        "1.png": 1,
        "2.png": 1,
        "reviews/photographs/10.png": 2,
        "later.png": 3,
    }
    assert raw.arrivals.read_text().startswith(first)


def test_what_the_table_does_not_name_is_removed_and_a_damaged_table_is_told(raw: Raw) -> None:
    review = raw.review(10, **KNOT)
    write_reviews(raw.ledger, [review.model_copy(update={"mask": None, "label": Label.NORMAL, "defects": {}})])
    assert not (raw.ledger / str(KNOT["mask"])).exists()
    assert raw_file(raw.source, review.image).is_file()
    (raw.ledger / "reviews/reviews.csv").write_text("sha256,image\nx,y\n")
    with pytest.raises(SourceError, match="damaged"):
        read_reviews(raw.ledger)
