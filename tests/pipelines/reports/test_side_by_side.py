"""Which images a comparison shows: those that the algorithms disagree on, each by its own threshold."""

from pipelines.core.records import Label
from pipelines.core.results import ScoredImage
from pipelines.reports.side_by_side import choose_disagreed

# By image: its label, PaDiM's score (threshold 1) and FastFlow's (threshold 10).
SCORES = {
    "agreed": (Label.ANOMALOUS, 4.0, 40.0),
    "split": (Label.ANOMALOUS, 1.1, 9.0),
    "far": (Label.ANOMALOUS, 2.0, 160.0),
    "calm": (Label.NORMAL, 0.5, 5.0),
    "loud": (Label.NORMAL, 0.9, 2.0),
}
THRESHOLDS = {"padim": 1.0, "fastflow": 10.0}


def scored() -> dict[str, list[ScoredImage]]:
    found: dict[str, list[ScoredImage]] = {"padim": [], "fastflow": []}
    for path, (label, *scores) in SCORES.items():
        for (name, threshold), score in zip(THRESHOLDS.items(), scores, strict=True):
            found[name].append(ScoredImage(path=path, label=label, score=score, anomalous=score > threshold))
    return found


def names(found: list[ScoredImage]) -> list[str]:
    return [image.path for image in found]


def test_split_verdicts_come_first_then_scores_far_apart_and_one_normal_image() -> None:
    assert names(choose_disagreed(scored(), THRESHOLDS, 2)) == ["split", "far", "loud"]
    assert names(choose_disagreed(scored(), THRESHOLDS, 9)) == ["split", "far", "agreed", "loud"]


def test_one_algorithm_or_no_picture_wanted_shows_nothing() -> None:
    assert choose_disagreed({"padim": scored()["padim"]}, THRESHOLDS, 3) == []
    assert choose_disagreed(scored(), THRESHOLDS, 0) == []


def test_without_labels_the_images_that_are_furthest_apart_are_shown() -> None:
    bare = {
        name: [image.model_copy(update={"label": Label.UNKNOWN}) for image in images]
        for name, images in scored().items()
    }
    assert names(choose_disagreed(bare, THRESHOLDS, 1)) == ["split"]


def test_an_image_that_one_did_not_score_is_left_out() -> None:
    fewer = scored()
    fewer["fastflow"] = [image for image in fewer["fastflow"] if image.path != "split"]
    assert names(choose_disagreed(fewer, THRESHOLDS, 1)) == ["far", "loud"]
