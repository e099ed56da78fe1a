"""Drift: quiet weeks stay quiet, dim light and another material are told apart, and what is sampled for review
for review.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipelines.core.records import Label, Layout
from pipelines.core.surface_settings import RegionSettings, WatchSettings
from pipelines.data.layouts import read_source
from pipelines.detector.version import DriftReference
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.measures import MEASURES, Measures, measure_image
from pipelines.imaging.overlay import encode_picture
from pipelines.imaging.roi import find_region
from pipelines.inspection.drift import DriftKind, find_drift
from pipelines.inspection.review_sample import TABLE, sample_for_review

SETTINGS = WatchSettings()
RULE = RegionSettings()
PNG = encode_picture(np.zeros((4, 4), np.uint8), "png")
THRESHOLD = 1.1


def images(rng: np.random.Generator, count: int, *, gain: float = 1.0, score: float = 0.0) -> dict[str, np.ndarray]:
    """Draw measures and scores of boards under a light `gain`; `score` is added to each."""
    bright = rng.normal(180, 12, count)
    contrast, sharp = rng.normal(15, 2, count), rng.normal(150, 20, count)
    return {
        "score": rng.normal(0.8, 0.1, count) + score,
        "brightness_mean": bright * gain,
        "brightness_std": contrast * gain,
        "sharpness": sharp * gain**2,
        "saturated_share": np.zeros(count),
    }


def as_reference(drawn: dict[str, np.ndarray]) -> DriftReference:
    return DriftReference(scores=drawn["score"], measures={name: drawn[name] for name in MEASURES})


def as_batch(drawn: dict[str, np.ndarray], paths: list[str] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame(drawn)
    return frame.assign(
        path=paths or [f"/gone/{i}.jpg" for i in range(len(frame))],
        anomalous=frame["score"] > THRESHOLD,
        version=3,
        batch="20260101T060000Z-aa",
    )


@pytest.fixture(scope="module")
def reference() -> DriftReference:
    return as_reference(images(np.random.default_rng(1), 99))


def test_thirty_quiet_days_cry_nothing(reference: DriftReference) -> None:
    rng = np.random.default_rng(2)
    for day in range(1, 31):
        drawn = images(rng, int(rng.integers(20, 201)))
        # One board in fourteen has a defect, which the reference has not seen.
        defective = rng.random(len(drawn["score"])) < 0.07
        drawn["score"] = drawn["score"] + defective * 0.8
        found = find_drift("oak", reference, as_batch(drawn), day, SETTINGS)
        assert found.kind is None, found.message


@pytest.mark.parametrize(("gain", "score"), [(0.75, 0.0), (0.75, 0.5), (1.3, 0.3)])
def test_other_light_is_named_as_light_whatever_it_does_to_scores(
    reference: DriftReference, gain: float, score: float
) -> None:
    batch = as_batch(images(np.random.default_rng(3), 20, gain=gain, score=score))
    found = find_drift("oak", reference, batch, 30, SETTINGS)
    assert found.kind == DriftKind.LIGHTING
    assert "brightness 18" in found.message
    assert ("scores with it" in found.message) == (score > 0)


def test_other_scores_alone_are_content(reference: DriftReference) -> None:
    drawn = images(np.random.default_rng(4), 40)
    drawn["score"][:30] += 1.0
    found = find_drift("oak", reference, as_batch(drawn), 30, SETTINGS)
    assert found.kind == DriftKind.CONTENT
    assert "75 % flagged where up to 10 % is usual" in found.message


def test_another_material_is_content_although_it_is_darker(reference: DriftReference) -> None:
    drawn = images(np.random.default_rng(5), 40, gain=0.7, score=0.6)
    drawn["sharpness"] *= 6
    assert find_drift("oak", reference, as_batch(drawn), 30, SETTINGS).kind == DriftKind.CONTENT


def test_a_flatter_material_is_content_although_no_score_moved(reference: DriftReference) -> None:
    drawn = images(np.random.default_rng(12), 40, gain=1.05)
    drawn["brightness_std"] *= 0.55
    found = find_drift("oak", reference, as_batch(drawn), 30, SETTINGS)
    assert found.kind == DriftKind.CONTENT


def test_a_lens_out_of_focus_is_no_content(reference: DriftReference) -> None:
    drawn = images(np.random.default_rng(6), 40)
    drawn["sharpness"] *= 0.2
    found = find_drift("oak", reference, as_batch(drawn), 30, SETTINGS)
    assert found.kind == DriftKind.LIGHTING
    assert "focus" in found.message


def test_a_small_change_of_many_images_is_none() -> None:
    rng = np.random.default_rng(7)
    many = as_reference(images(rng, 2000))
    drawn = images(rng, 2000)
    drawn["brightness_mean"] += 4
    (figure,) = (
        f for f in find_drift("oak", many, as_batch(drawn), 1, SETTINGS).figures if f.name == "brightness_mean"
    )
    assert figure.p_value < 1e-6
    assert not figure.moved


def test_scores_without_a_reference_are_not_compared(reference: DriftReference) -> None:
    unlabelled = reference.model_copy(update={"scores": ()})
    batch = as_batch(images(np.random.default_rng(8), 40, score=0.2))
    found = find_drift("oak", unlabelled, batch, 1, SETTINGS)
    assert "score" not in {figure.name for figure in found.figures}


@pytest.mark.slow
@pytest.mark.real
def test_real_boards_are_quiet_and_a_dimmer_lamp_is_light(real_data: Path) -> None:
    rows = [row for row in read_source(Layout.VSB, real_data / "wood-boards") if row.label == Label.NORMAL]
    order = np.random.default_rng(0).permutation(len(rows))
    files = [real_data / "wood-boards" / rows[int(i)].path for i in order[:259]]
    photos = [decode_image(file, max_megapixels=50).image for file in files]
    regions = [photo[slice(*box[1::2]), slice(*box[0::2])] for photo in photos for box in [find_region(photo, RULE)]]
    normal = DriftReference(measures={name: [getattr(m, name) for m in measure(regions[:99])] for name in MEASURES})
    for day in range(1, 5):
        batch = regions[59 + 40 * day : 99 + 40 * day]
        assert find_drift("oak", normal, of_measures(measure(batch)), day, SETTINGS).kind is None
        dim = [np.uint8(region * 0.8) for region in batch[:20]]
        found = find_drift("oak", normal, of_measures(measure(dim)), day, SETTINGS)
        assert found.kind == DriftKind.LIGHTING, found.message


def measure(regions: list[NDArray[np.uint8]]) -> list[Measures]:
    return [measure_image(region) for region in regions]


def of_measures(measured: list[Measures]) -> pd.DataFrame:
    """Make a batch of which only the measures say something."""
    table = {name: np.array([getattr(m, name) for m in measured]) for name in MEASURES}
    return as_batch({"score": np.zeros(len(measured)), **table})


def test_the_strangest_are_sampled_for_review_and_a_few_at_random(reference: DriftReference, tmp_path: Path) -> None:
    drawn = images(np.random.default_rng(9), 40)
    drawn["score"] += 0.5
    files = [tmp_path / "camera" / f"board {i}.png" for i in range(40)]
    for file in files[:-1]:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(PNG + file.name.encode())
    drawn["score"][-1] = 9.0  # the strangest of all is no longer there
    batch = as_batch(drawn, [str(file) for file in files])
    found = find_drift("oak", reference, batch, 1, SETTINGS)
    for _ in range(2):
        folder = sample_for_review(found, reference, batch, tmp_path / "review", 8)
    assert folder == tmp_path / "review" / found.batch
    with (folder / TABLE).open() as table:
        rows = list(csv.DictReader(table))
    assert [row["picked"] for row in rows] == ["most drifted"] * 6 + ["at random"] * 2
    wanted = sorted(drawn["score"][:-1], reverse=True)[:6]
    assert [float(row["score"]) for row in rows[:6]] == pytest.approx(wanted)
    assert all((folder / row["file"]).read_bytes() == PNG + Path(row["path"]).name.encode() for row in rows)
    assert len({row["path"] for row in rows}) == 8
    assert {p.name for p in folder.parent.iterdir()} == {found.batch}, "something half written was left"


def test_under_other_light_the_reason_is_the_light(reference: DriftReference, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    batch = as_batch(images(np.random.default_rng(10), 20, gain=0.7), [str(file)] * 20)
    found = find_drift("oak", reference, batch, 1, SETTINGS)
    folder = sample_for_review(found, reference, batch, tmp_path / "review", 4)
    assert folder is not None
    assert "brightness 1" in (folder / TABLE).read_text()
    assert "calibrated on" in (folder / TABLE).read_text()


def test_nothing_is_sampled_for_review_where_no_image_is_left(reference: DriftReference, tmp_path: Path) -> None:
    batch = as_batch(images(np.random.default_rng(11), 20, gain=0.5))
    found = find_drift("oak", reference, batch, 1, SETTINGS)
    assert sample_for_review(found, reference, batch, tmp_path / "review", 8) is None
    assert not (tmp_path / "review").exists()


def test_a_history_of_somebody_else_has_no_private_file_sampled_for_review(
    reference: DriftReference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What lies there is backed up and shown: a row's path may name any file that the owner can read, or be missing."""
    key = tmp_path / "id_ed25519"
    key.write_text("PRIVATE KEY")
    batch = as_batch(images(np.random.default_rng(12), 20, gain=0.7), [str(key)] * 20)
    batch.loc[0, "path"] = None
    found = find_drift("oak", reference, batch, 1, SETTINGS)
    assert sample_for_review(found, reference, batch, tmp_path / "review", 4) is None
    assert "4 files are no images and are left out" in caplog.text
    assert not (tmp_path / "review").exists()
