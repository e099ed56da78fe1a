"""Who becomes a member of an ensemble: in a fixed order, as many as time allows."""

from pipelines.core.results import CalibratedThreshold, VersionSummary
from pipelines.training.ensemble.choose import choose_members
from pipelines.training.ensemble.settings import EnsembleSettings

SETTINGS = EnsembleSettings(members={"padim": 1, "efficientad": 1, "fastflow": 1}, least_auroc=0.6)
THRESHOLD = CalibratedThreshold(threshold=1, target_rate=0.01, achieved_rate=0.01, images=99)


def version(algorithm: str, latency_ms: float | None, synthetic: float | None = 0.9, busy: str = "") -> VersionSummary:
    validation = {} if synthetic is None else {"image_auroc": synthetic}
    cost = {"tiles": 1, "seconds": 1, "peak_rss_mb": 1, "folder_mb": 1, "latency_ms": latency_ms, "busy": busy}
    return VersionSummary(algorithm=algorithm, run_id="", validation=validation, image_threshold=THRESHOLD, **cost)


def test_the_order_is_the_settings_and_synthetic_figures_do_not_rank() -> None:
    versions = [version("fastflow", 10, 0.99), version("padim", 10, 0.7), version("efficientad", 10, 0.8)]
    choice = choose_members(versions, SETTINGS, 1000)
    assert choice.members == ("padim", "efficientad", "fastflow")
    assert not choice.left_out


def test_members_are_taken_until_time_is_spent_and_a_quicker_one_may_still_fit() -> None:
    versions = [version("padim", 100), version("efficientad", 950), version("fastflow", 300)]
    choice = choose_members(versions, SETTINGS, 1000)
    assert choice.members == ("padim", "fastflow")
    assert not choice.alone
    assert choice.left_out == {"efficientad": "950 ms a megapixel, with the others 1050, above 1000"}


def test_what_was_timed_on_a_busy_machine_is_left_out_for_no_time_and_takes_none_of_the_others() -> None:
    busy = "load average 12.0 on 2 cores: other work ran meanwhile"
    versions = [version("padim", 2692, busy=busy), version("efficientad", 300), version("fastflow", 900)]
    choice = choose_members(versions, SETTINGS, 1000)
    assert choice.members == ("padim", "efficientad")
    assert set(choice.left_out) == {"fastflow"}
    assert choice.notes({"padim": 1, "efficientad": 2})["not left out for its time"] == (
        f"padim: 2692 ms a megapixel, timed at {busy}"
    )


def test_one_that_tells_nothing_stays_out_and_the_first_is_taken_however_slow() -> None:
    versions = [version("padim", 5000), version("efficientad", 1, 0.55), version("fastflow", 1, None)]
    choice = choose_members(versions, SETTINGS, 1000)
    assert choice.members == ("padim",)
    assert choice.alone == "padim"
    assert choice.left_out["efficientad"] == "image AUROC 0.550 on synthetic anomalies, below 0.6"


def test_without_any_that_is_good_the_first_of_the_order_stands_alone() -> None:
    choice = choose_members([version("fastflow", 1, 0.5), version("padim", 1, 0.4)], SETTINGS, 1000)
    assert choice.members == ("padim",)
    assert set(choice.left_out) == {"fastflow"}


def test_what_the_settings_do_not_name_is_no_member() -> None:
    assert choose_members([version("anomalydino", 1)], SETTINGS, 1000).members == ()
    single = choose_members([version("anomalydino", 1), version("padim", 1)], SETTINGS, 1000)
    assert (single.members, single.alone) == (("padim",), ""), "no other one was kept out"
