"""Domains and robust Gaussians, on drawn numbers whose truth is known."""

import numpy as np
import pytest

from pipelines.models.padim.robust import find_clusters, fit_robust


def draw_images(*centres: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw 12 tiles (c = 10) of each image around its centre; two tiles in each are full of a defect."""
    random = np.random.default_rng(0)
    tiles = np.concatenate([random.normal(centre, 1, (12, 10)) for centre in centres])
    tiles[::12] += 12
    tiles[5::12] -= 15
    return tiles.astype(np.float32), np.repeat(np.arange(len(centres)), 12)


def test_a_rare_kind_is_a_kind_of_its_own_and_defects_are_none() -> None:
    pooled, owners = draw_images(0, 0, 0, 0, 30, 0)
    clusters = find_clusters(pooled, owners, most=5, separation=0.25)
    assert clusters[::12].tolist() == [0, 0, 0, 0, 1, 0]
    assert all(len(set(clusters[owners == p])) == 1 for p in range(6)), "an image is of one kind"


@pytest.mark.parametrize("centres", [(0, 0, 0, 0, 0), (0,), (0, 0)])
def test_one_kind_stays_one(centres: tuple[float, ...]) -> None:
    pooled, owners = draw_images(*centres)
    assert set(find_clusters(pooled, owners, most=5, separation=0.25)) == {0}


def test_defects_among_the_examples_do_not_become_normal() -> None:
    random = np.random.default_rng(1)
    normal = random.normal(0, 1, (4000, 6)).astype(np.float32)
    defects = (random.normal(0, 0.3, (300, 6)) + np.array([7, 0, 0, 0, 0, 0])).astype(np.float32)
    together = np.concatenate([normal, defects])
    found = fit_robust(together, 0.1, 1e-3)
    plain = float(np.median(np.linalg.norm((defects - together.mean(axis=0)) / together.std(axis=0), axis=1)))
    assert abs(found.mean[0]) < 0.1
    assert found.distances(defects).min() > 1.5 * found.level
    # Taken with the defects, the same places look half as far.
    assert np.median(found.distances(defects)) > 1.5 * plain
    assert np.mean(found.distances(normal) > found.level) < 0.15


def test_the_likelier_kind_wins_where_a_wide_one_would_be_nearer() -> None:
    random = np.random.default_rng(2)
    narrow = fit_robust(random.normal(0, 0.2, (3000, 5)).astype(np.float32), 0.1, 1e-4)
    wide = fit_robust(random.normal(0, 2, (3000, 5)).astype(np.float32), 0.1, 1e-4)
    cells = random.normal(0, 0.2, (500, 5)).astype(np.float32)
    squares = [np.median(g.distances(cells)) ** 2 for g in (narrow, wide)]
    assert squares[1] < squares[0], "the wide one alone looks nearer"
    assert squares[0] + narrow.log_det < squares[1] + wide.log_det
