"""Words that must not guarantee more than the figures do."""

import pytest

from pipelines.core.results import CalibratedThreshold, Confusion, Evaluation
from pipelines.core.wording import confusion_in_words, share_in_words, summary, threshold_in_words


def test_too_few_images_are_said_to_be_too_few() -> None:
    words = threshold_in_words(
        CalibratedThreshold(threshold=1, target_rate=0.01, achieved_rate=0.25, images=3), "normal images"
    )
    assert words.startswith("At most 25 % of normal images")
    assert words.endswith("1 % is the target, which takes at least 99 images.")


def test_an_area_is_flagged_and_images_are() -> None:
    found = CalibratedThreshold(threshold=1, target_rate=0.01, achieved_rate=0.01, images=105)
    assert threshold_in_words(found, "the normal area") == (
        "At most 1 % of the normal area is flagged, on average; set on 105 images."
    )


def test_an_in_sample_threshold_never_reads_as_a_guarantee() -> None:
    words = threshold_in_words(
        CalibratedThreshold(threshold=1, target_rate=0.01, achieved_rate=0.01, images=1, in_sample=True), "normal area"
    )
    assert words == (
        "An in-sample threshold without a guarantee of 1 % of normal area: set on 1 image that was trained on."
    )


@pytest.mark.parametrize(("share", "words"), [(0.0, "0 %"), (0.0004, "0.04 %"), (0.0999, "10 %"), (0.9996, "100 %")])
def test_shares_read_naturally(share: float, words: str) -> None:
    assert share_in_words(share) == words


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((3, 0, 0, 1), "finds 75 % of 4 defective test images"),
        ((0, 1, 9, 0), "flags 10 % of 10 normal test images"),
        ((0, 0, 0, 0), "was tested on no labelled image"),
    ],
)
def test_an_absent_class_is_not_mentioned(counts: tuple[int, int, int, int], words: str) -> None:
    names = ("true_positive", "false_positive", "true_negative", "false_negative")
    assert confusion_in_words(Confusion(**dict(zip(names, counts, strict=True)))) == words


def test_without_labels_the_summary_claims_nothing() -> None:
    assert "nothing is known" in summary("padim version 1", Evaluation())
