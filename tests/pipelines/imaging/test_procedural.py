"""Drawn surfaces: the same for the same seed, and masks that say exactly where a defect changed the picture."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from pipelines.core.errors import CallError
from pipelines.imaging.procedural import DEFECTS, WOOD_DEFECTS, Drawn, Material, draw
from pipelines.imaging.procedural.knots import REACH, Knot, bend_grain, paint_knot
from pipelines.imaging.procedural.noise import fractal_noise, noise_line, stream, value_noise
from pipelines.imaging.procedural.species import SPECIES
from pipelines.imaging.procedural.wood import Grain

ALL = [(material, number, name) for material, types in DEFECTS.items() for number, name in types.items()]
# Knots bend the grain around them, and that is normal wood.
STAYING = [case for case in ALL if "knot" not in case[2]]


def _change(one: Drawn, other: Drawn) -> NDArray[np.int16]:
    return np.asarray(np.abs(one.image.astype(np.int16) - other.image).max(axis=2))


@pytest.mark.parametrize("material", ["wood", "fabric"])
def test_a_seed_draws_the_same_picture_whatever_was_drawn_before(material: Material) -> None:
    names = tuple(DEFECTS[material].values())
    first = draw(material, 7, 96, 160, names)
    draw(material, 8, 64, 64)
    np.random.seed(0)
    again, other = draw(material, 7, 96, 160, names), draw(material, 9, 96, 160, names)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert _change(first, other).mean() > 5


@pytest.mark.parametrize(("material", "number", "name"), ALL)
def test_every_type_is_drawn_under_its_number(material: Material, number: int, name: str) -> None:
    for seed in range(8):
        flawed, normal = draw(material, seed, 128, 192, [name]), draw(material, seed, 128, 192)
        assert set(np.unique(flawed.mask)) == {0, number}
        assert not normal.mask.any()
        inside = flawed.mask > 0
        assert 8 < inside.sum() < 0.35 * inside.size
        assert _change(flawed, normal)[inside].mean() > 4


@pytest.mark.parametrize(("material", "number", "name"), STAYING)
def test_the_picture_changes_where_the_mask_says_and_nowhere_else(material: Material, number: int, name: str) -> None:
    for seed in range(8):
        flawed, normal = draw(material, seed, 128, 192, [name]), draw(material, seed, 128, 192)
        outside = ~binary_dilation(flawed.mask > 0, iterations=4)
        change = _change(flawed, normal)[outside]
        # A diffuse edge fades out below what a person sees.
        assert change.mean() < 0.5
        assert np.quantile(change, 0.99) <= 8


def test_a_knot_changes_its_neighbourhood_only() -> None:
    y, x = np.mgrid[0:100, 0:200].astype(np.float32)
    knot = Knot("live knot", x=100, y=50, along=8, across=6, tilt=0.0)
    bent = bend_grain(x, y, (knot,))
    far = np.abs(y - 50) > REACH * 6
    assert np.array_equal(bent[far], y[far])
    above = bent[43, 100]
    assert 46 < above < 50, "just above the knot lies grain that was nearer to its axis"
    assert np.all(np.diff(bent, axis=0) > -0.05), "grain lines must not cross"


@pytest.mark.parametrize("kind", [name for name in WOOD_DEFECTS.values() if "knot" in name])
def test_a_knot_is_painted_inside_its_mask_only(kind: str) -> None:
    y, x = np.mgrid[0:100, 0:200].astype(np.float32)
    knot = Knot(kind, x=100, y=50, along=20, across=14, tilt=0.2)
    for seed in range(5):
        layer = paint_knot(stream(seed), knot, Grain(x, y, y, 12.0), SPECIES["pine"])
        assert layer.alpha[~binary_dilation(layer.mask, iterations=3)].max() < 0.05
        assert layer.alpha[layer.mask].mean() > 0.4


def test_normal_boards_vary_as_boards_do() -> None:
    means = np.array([draw("wood", seed, 96, 192).image.mean(axis=(0, 1)) for seed in range(12)])
    deviations = [draw("wood", seed, 96, 192).image.std() for seed in range(12)]
    assert 2 < means.std(axis=0).mean() < 25
    assert max(deviations) > 1.3 * min(deviations)


def test_species_and_scale_can_be_chosen() -> None:
    pine, walnut = draw("wood", 1, 96, 192), draw("wood", 1, 96, 192, look="walnut")
    assert walnut.image.mean() < pine.image.mean() - 30
    fine, coarse = (draw("wood", 2, 96, 192, scale=scale).image.astype(float) for scale in (5, 25))
    assert np.abs(np.diff(fine, axis=0)).mean() > 1.2 * np.abs(np.diff(coarse, axis=0)).mean()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 300), (300, 70)])
def test_any_size_can_be_drawn(height: int, width: int) -> None:
    for material, types in DEFECTS.items():
        drawn = draw(material, 4, height, width, tuple(types.values()))
        assert drawn.image.shape == (height, width, 3)
        assert drawn.mask.shape == (height, width)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(CallError, match="rust"):
        draw("wood", 0, 64, 64, ["rust"])
    with pytest.raises(CallError, match="ebony"):
        draw("wood", 0, 64, 64, look="ebony")
    with pytest.raises(CallError, match="silk"):
        draw("fabric", 0, 64, 64, look="silk")


def test_noise_is_standardised_and_smooth() -> None:
    field = fractal_noise(stream(1), 200, 300, (12, 20))
    assert abs(field.mean()) < 0.3
    assert 0.7 < field.std() < 1.3
    steps = np.abs(np.diff(value_noise(stream(2), 200, 300, (12, 20)), axis=0))
    assert steps.mean() < 0.2, "neighbours of white noise differ by 1.1 in the mean"
    assert noise_line(stream(3), 50, 8).shape == (50,)
