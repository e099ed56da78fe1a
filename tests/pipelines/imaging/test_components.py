"""Regions: what counts as a defect, where it is, how large and how it lies."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from skimage.measure import label, regionprops

from pipelines.core.geometry import Box
from pipelines.core.surface_settings import DefectSettings
from pipelines.detector.version import VersionInfo
from pipelines.imaging.components import draw_regions, find_defects, flagged_share, pixel_level, trim_regions
from pipelines.metrics.conformal import risk_controlled_threshold
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.pixels import PixelHistograms
from pipelines.training.thresholds import hold_for_regions

EASY = DefectSettings(low=1, min_area=1)


def blank(height: int = 80, width: int = 120) -> NDArray[np.float32]:
    return np.full((height, width), 0.2, np.float32)


def test_a_region_is_measured_as_it_lies() -> None:
    found = blank()
    found[30:34, 20:80] = 1.5
    found[31, 40] = 3
    (defect,) = find_defects(found, 1.0, EASY, corner=(100, 7))
    assert defect.box == Box(120, 37, 180, 41)
    assert (defect.area, defect.length, defect.width, defect.orientation) == (240, 60, 4, 0)
    assert (defect.score, defect.mean_score) == (3, pytest.approx(1.5 + 1.5 / 240))
    assert set(defect.outline) == {(120, 37), (120, 40), (179, 40), (179, 37)}
    assert (defect.type, defect.confidence) == (None, None)


@pytest.mark.parametrize("angle", [-60, -20, 35, 90])
def test_orientation_turns_anticlockwise_as_a_person_sees_it(angle: int) -> None:
    drawn = np.zeros((200, 200), np.uint8)
    across, up = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    ends = [(round(100 + s * 70 * across), round(100 - s * 70 * up)) for s in (-1, 1)]
    cv2.line(drawn, ends[0], ends[1], 1, thickness=5)
    (defect,) = find_defects(drawn.astype(np.float32), 0.5, EASY)
    assert defect.orientation == pytest.approx(angle, abs=1)
    assert defect.length == pytest.approx(145, abs=4)
    assert 5 <= defect.width < 10, "thickness and round ends"


def test_regions_agree_with_another_implementation() -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, (150, 220)).astype(np.float32), (0, 0), 4)
    found = (noise / noise.std()).astype(np.float32)
    ours = find_defects(found, 1.5, DefectSettings(low=1 / 1.5, min_area=30))
    theirs = [r for r in regionprops(label(found > 1, connectivity=2), found) if r.area >= 30 and r.intensity_max > 1.5]
    assert len(ours) == len(theirs) > 5
    expected = {(r.bbox[1], r.bbox[0], r.bbox[3], r.bbox[2]): (int(r.area), float(r.intensity_mean)) for r in theirs}
    assert {tuple(d.box): (d.area, pytest.approx(d.mean_score, rel=1e-5)) for d in ours} == expected
    assert [d.score for d in ours] == sorted((d.score for d in ours), reverse=True)
    # Outlines hold all that is needed to draw the regions again, but for their holes.
    drawn = draw_regions(ours, *found.shape) > 0
    listed = np.isin(label(found > 1, connectivity=2), [r.label for r in theirs])
    assert np.all(drawn[listed])
    assert (drawn & ~listed).mean() < 0.001


def test_a_strong_peak_keeps_its_weak_surroundings_and_what_is_weak_or_small_is_no_defect() -> None:
    found = blank()
    found[5:15, 5:25] = 1.1
    found[40:60, 40:70] = 1.1
    found[50, 50] = 1.6
    found[70:72, 100:102] = 5
    (defect,) = find_defects(found, 1.5, DefectSettings(low=0.7, min_area=5))
    assert defect.box == Box(40, 40, 70, 60)
    assert find_defects(found, 6.0, EASY) == ()


def test_a_crack_along_a_diagonal_is_one_region() -> None:
    found = np.eye(60, dtype=np.float32)
    (defect,) = find_defects(found, 0.5, EASY)
    assert (defect.area, defect.orientation) == (60, -45)


def test_the_smallest_area_may_be_given_in_millimetres() -> None:
    found = blank()
    found[10:20, 10:20] = 2
    assert find_defects(found, 1.0, DefectSettings(min_area_mm2=1, pixels_per_mm=9))
    assert not find_defects(found, 1.0, DefectSettings(min_area_mm2=1, pixels_per_mm=11))
    with pytest.raises(ValidationError, match="needs `pixels_per_mm`"):
        DefectSettings(min_area_mm2=1)


def test_the_flagged_share_is_that_of_the_regions_and_falls_with_the_threshold() -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(5).normal(0, 1, (150, 220)).astype(np.float32), (0, 0), 3)
    settings = DefectSettings(low=0.6)
    levels = [float(level) for level in np.linspace(0.02, noise.max(), 40)]
    shares = [flagged_share(noise, level, settings) for level in levels]
    assert shares[3] == sum(d.area for d in find_defects(noise, levels[3], settings)) / noise.size
    assert shares == sorted(shares, reverse=True)
    assert (shares[0] > 0.1, shares[-1]) == (True, 0)


def test_the_guarantee_is_kept_for_regions_and_only_images_above_the_threshold_are_scanned_again() -> None:
    generator = np.random.default_rng(8)
    noise = [cv2.GaussianBlur(generator.normal(0, 1, (90, 90)).astype(np.float32), (0, 0), 3) for _ in range(60)]
    maps = [10 * np.abs(n) * scale for n, scale in zip(noise, generator.uniform(0.5, 1, 60), strict=True)]
    histograms = PixelHistograms(choose_edges([], []))
    for found in maps:
        histograms.add(found, np.zeros(found.shape, np.uint8), np.ones(found.shape, dtype=bool))
    shares, levels = histograms.table().exceedance()
    settings = DefectSettings(low=0.5, min_area=1)
    requested: list[int] = []

    def scan(number: int) -> NDArray[np.float32]:
        requested.append(number)
        return maps[number]

    pixels = risk_controlled_threshold(shares, levels, 0.03)
    nobody = np.zeros(60, dtype=bool)
    regions = hold_for_regions(pixels, shares, levels, nobody, scan, settings)

    def risk(threshold: float) -> float:
        return (sum(flagged_share(found, threshold, settings) for found in maps) + 1) / 61

    assert risk(pixels.threshold) > 0.03, "regions would have broken the guarantee"
    assert risk(regions.threshold) <= 0.03 < risk(regions.threshold * 0.95)
    assert requested == [n for n, found in enumerate(maps) if found.max() > pixels.threshold]
    assert 0 < len(requested) < 60
    # Images judged anomalous are searched more closely, which the guarantee counts too.
    judged = np.arange(60) < 6
    closer = settings.model_copy(update={"anomalous": 0.4})
    raised = hold_for_regions(pixels, shares, levels, judged, scan, closer)
    levels_of = [pixel_level(raised.threshold, closer, anomalous=bool(j)) for j in judged]
    flagged = [flagged_share(found, level, closer) for found, level in zip(maps, levels_of, strict=True)]
    assert (sum(flagged) + 1) / 61 <= 0.03
    assert raised.threshold > regions.threshold


def test_a_version_from_before_defects_still_loads() -> None:
    calibrated = {"threshold": 1.0, "target_rate": 0.01, "achieved_rate": 0.01, "images": 99}
    info = VersionInfo.model_validate(
        {
            "surface": "oak",
            "algorithm": "padim",
            "data_version": "x",
            "region": {},
            "score_rule": {},
            "plan": {"mode": "fit", "tile_height": 64, "tile_width": 64},
            "map_divisor": 1,
            "image_divisor": 1,
            "image_threshold": calibrated,
            "pixel_threshold": calibrated,
        }
    )
    assert info.defects == DefectSettings()


def bump(peak: float, width: float, size: int = 161) -> NDArray[np.float32]:
    """Draw what a network makes of a point: a peak that falls off as a Gaussian."""
    off = np.arange(size) - size // 2
    return (peak * np.exp(-(off[:, None] ** 2 + off**2) / (2 * width**2))).astype(np.float32)


def test_a_region_far_above_its_level_is_drawn_closer_and_one_next_to_it_stays() -> None:
    settings = DefectSettings(low=1, min_area=1)
    high, faint = bump(32, 10), bump(1.9, 10)
    for found, trimmed in ((high, True), (faint, False)):
        (region,) = find_defects(found, 1.0, settings)
        (drawn,) = trim_regions(found, (region.model_copy(update={"type": "knot"}),), 1.0, settings)
        # The area of a Gaussian above a level is 2 pi width^2 ln(peak / level).
        level = 16**0.6 if trimmed else 1
        assert drawn.area == pytest.approx(200 * np.pi * np.log(found.max() / level), rel=0.03)
        assert (drawn.score, drawn.type) == (region.score, "knot")
    assert trim_regions(high, find_defects(high, 0.0, settings), 0.0, settings) == find_defects(high, 0.0, settings)
    off = settings.model_copy(update={"trim": 0.0})
    assert trim_regions(high, find_defects(high, 1.0, off), 1.0, off) == find_defects(high, 1.0, off)


def test_two_peaks_that_share_a_foot_are_both_kept() -> None:
    found = np.pad(np.maximum(np.roll(bump(40, 16), -32, 1), np.roll(bump(4, 16), 32, 1)), 7)
    settings = DefectSettings(low=1, min_area=30)
    (region,) = find_defects(found, 1.0, settings)
    drawn = trim_regions(found, (region,), 1.0, settings)
    assert [defect.score for defect in drawn] == [40, 4], "the weak one lies below what the strong one is cut at"
    assert [defect.box.left < 87 for defect in drawn] == [True, False]
    everywhere = draw_regions((region,), *found.shape) > 0
    assert not (draw_regions(drawn, *found.shape) > 0)[~everywhere].any()
