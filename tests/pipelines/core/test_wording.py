"""Words that must not promise more than the figures do."""

import pytest

from pipelines.core.results import Confusion, Evaluation, Promise
from pipelines.core.wording import confusion_in_words, promise_in_words, share_in_words, summary


def test_too_few_images_are_said_to_be_too_few() -> None:
    words = promise_in_words(Promise(threshold=1, asked=0.01, rate=0.25, images=3), "sound photographs")
    assert words.startswith("At most 25 % of sound photographs")
    assert words.endswith("1 % was asked for, which takes at least 99 images.")


def test_an_estimate_never_reads_as_a_promise() -> None:
    words = promise_in_words(Promise(threshold=1, asked=0.01, rate=0.01, images=1, estimate=True), "sound area")
    assert words == "An estimate without a promise of 1 % of sound area: set on 1 image that was trained on."


@pytest.mark.parametrize(("share", "words"), [(0.0, "0 %"), (0.0004, "0.04 %"), (0.0999, "10 %"), (0.9996, "100 %")])
def test_shares_read_naturally(share: float, words: str) -> None:
    assert share_in_words(share) == words


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((3, 0, 0, 1), "finds 75 % of 4 defective test photographs"),
        ((0, 1, 9, 0), "marks 10 % of 10 sound test photographs"),
        ((0, 0, 0, 0), "was tested on no labelled photograph"),
    ],
)
def test_an_absent_class_is_not_mentioned(counts: tuple[int, int, int, int], words: str) -> None:
    names = ("true_positive", "false_positive", "true_negative", "false_negative")
    assert confusion_in_words(Confusion(**dict(zip(names, counts, strict=True)))) == words


def test_without_labels_the_summary_claims_nothing() -> None:
    assert "nothing is known" in summary("padim version 1", Evaluation())
