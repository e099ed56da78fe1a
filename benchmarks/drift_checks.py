"""How often quiet months raise a false alarm, with and without each correction: `python -m benchmarks.drift_checks`."""

from collections import Counter

import numpy as np

from pipelines.metrics.drift import adjust_for_figures, level_of_check, population_stability, shift_p_value

FIGURES, DAYS, LEVEL, SIZE = 5, 30, 0.05, 0.25
METHODS = ("each figure at 5 %", "with Holm", "with Holm and the level of the check", "and the size")


def draw(rng: np.random.Generator, images: int) -> np.ndarray:
    """Draw figures (images, FIGURES) of one kind of image, correlated by 0.5."""
    shared = rng.standard_normal((images, 1))
    return np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.standard_normal((images, FIGURES))


def alarms_of_month(rng: np.random.Generator, images: int) -> set[str]:
    """Check 30 quiet batches against one reference, and name the ways that cried at least once."""
    reference, cried = draw(rng, images), set()
    for number in range(1, DAYS + 1):
        batch = draw(rng, int(rng.integers(20, 201)))
        p_values = {str(f): shift_p_value(reference[:, f], batch[:, f]) for f in range(FIGURES)}
        adjusted = adjust_for_figures(p_values)
        sure = [f for f, p in adjusted.items() if p <= level_of_check(number, LEVEL)]
        large = [f for f in sure if population_stability(reference[:, int(f)], batch[:, int(f)]) >= SIZE]
        found = (min(p_values.values()) <= LEVEL, min(adjusted.values()) <= LEVEL, bool(sure), bool(large))
        cried |= {way for way, alarm in zip(METHODS, found, strict=True) if alarm}
    return cried


def main(months: int = 2000) -> None:
    for images in (99, 22):
        rng = np.random.default_rng(0)
        counts = Counter(way for _ in range(months) for way in alarms_of_month(rng, images))
        for way in METHODS:
            print(f"{images:3d} images  {way:40s} {counts[way] / months:.2%} of months")  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
