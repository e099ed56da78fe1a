"""The promotion gate: from evidence and a surface's policy to a decision with its reasons; nothing is read or run."""

from pipelines.core.records import Interval
from pipelines.core.surface_settings import GateSettings
from pipelines.core.wording import count_in_words, interval_in_words, share_in_words
from pipelines.metrics.conformal import most_false_alarms
from pipelines.registry.decision import Check, CheckOutcome, CheckResult, Decision, Evidence, Scored
from pipelines.training.parity import LIMITS

_DETECTION = {
    "image_auroc": "image AUROC",
    "aupro": "AUPRO",
    "synthetic_auroc": "image AUROC with synthetic anomalies",
}

# Whatever it scores would be figures of something else than what was registered.
_NOT_SCORED = "a version that does not reproduce its reference tiles is not scored"

# 0.94 - 0.95 must not be worse by more than 0.01.
_ROUNDING = 1e-9


def decide(evidence: Evidence, policy: GateSettings) -> Decision:
    """Accept the candidate where no check speaks against it; every check is listed, whatever its outcome.

    Args:
        evidence: All that is known of the candidate, and of the champion on the same images.
        policy: The surface's margins, floors and limits.

    Returns:
        The decision with its ten checks, always in the same order.
    """
    checks = (
        _as_check("validation", evidence.validation, "data that validation accepted"),
        _as_check("references", evidence.references, "loads in a fresh process and reproduces its reference tiles"),
        _as_check("parity", evidence.parity, f"the exported network judges as the fitted one: {LIMITS}"),
        _as_check("coordinates", evidence.coordinates, "maps and region in the surface's own coordinates"),
        _check_detection("image_auroc", evidence, policy),
        _check_detection("aupro", evidence, policy),
        _check_detection("synthetic_auroc", evidence, policy),
        _check_recall(evidence, policy),
        _check_false_alarms(evidence, policy),
        _check_latency(evidence, policy),
    )
    accepted = all(check.passed for check in checks)
    return Decision(accepted=accepted, basis=_basis(evidence), checks=checks, evidence=evidence, policy=policy)


def is_worse(difference: Interval, margin: float) -> bool:
    """Tell whether a difference, candidate minus champion, shows that the candidate is worse by more than a margin.

    Two things must come together: the best estimate is lower by more than the margin, and the 95 % interval lies
    wholly below 0, so that chance does not explain it. To demand proof that it is not worse (lower bound above -margin)
    would leave most surfaces with their first version for ever, and the estimate alone would often go by chance.
    Simulated with an AUROC of 0.93, noise correlated by 0.64 and a margin of 0.01, an equal candidate is refused in
    2 % of trials on 100 normal and 220 defective images (by the estimate alone 25 %, by proof 88 %), in 3 % on
    20 and 20 (46 %, 94 %); one that is worse by 0.05 in 86 % and in 28 %. That is the price: with few images a
    loss can go unseen, and the check says so.

    Args:
        difference: Of a figure where higher is better. Without bounds the estimate decides alone.
        margin: How much lower the figure may be, in its own unit, >= 0.

    Returns:
        Whether it is worse; NaN without bounds is.

    >>> is_worse(Interval(value=-0.05, low=-0.07, high=-0.03), 0.01)
    True
    >>> is_worse(Interval(value=-0.05, low=-0.14, high=0.03), 0.01)
    False
    """
    within = difference.value >= -margin - _ROUNDING
    return not (within or (difference.high is not None and difference.high >= 0))


def _as_check(name: str, result: CheckResult, wanted: str) -> Check:
    outcome = CheckOutcome.PASSED if result.ok else CheckOutcome.REFUSED
    found = result.message or ("as wanted" if result.ok else "not as wanted")
    return Check(name=name, outcome=outcome, found=found, wanted=wanted, message=f"{name}: {found}")


def _check_detection(name: str, evidence: Evidence, policy: GateSettings) -> Check:
    """Set one figure of detection against the champion's, or against its floor where there is no champion."""
    title, against = _DETECTION[name], evidence.comparison
    figure: Interval | None = getattr(evidence.candidate, name)
    found = interval_in_words(figure) + _counted(name, evidence) if figure else "none"
    if reason := _why_not_judged(name, evidence):
        return _not_judged(name, found, "nothing", f"{title} is not judged: {reason}")
    if against is None:
        floor: float = getattr(policy.floors, name)
        outcome = CheckOutcome.PASSED if figure and figure.value >= floor else CheckOutcome.REFUSED
        value = f"is {figure.value:.3f}" if figure else "was not measured"
        message = f"{title} {value}, a first champion needs {floor:g}"
        return Check(name=name, outcome=outcome, found=found, wanted=f"at least {floor:g}", message=message)
    margin: float = getattr(policy.margins, name)
    wanted = f"not shown to be lower than version {against.champion.version}'s by more than {margin:g}"
    difference: Interval | None = getattr(against, name)
    if figure is None or difference is None:
        message = f"{title} was not compared with version {against.champion.version}"
        return Check(name=name, outcome=CheckOutcome.REFUSED, found=found, wanted=wanted, message=message)
    outcome = CheckOutcome.REFUSED if is_worse(difference, margin) else CheckOutcome.PASSED
    message = f"{title} {_difference_in_words(difference, margin, against.champion)}"
    return Check(
        name=name,
        outcome=outcome,
        found=f"{found}, {_bounds(difference)}",
        wanted=wanted,
        message=message,
        uncertain=_is_uncertain(difference, margin),
    )


def _is_uncertain(difference: Interval, margin: float) -> bool:
    """Tell whether a figure is lower by more than the margin, and passes because chance explains it as well."""
    return difference.value < -margin - _ROUNDING and not is_worse(difference, margin)


def _counted(name: str, evidence: Evidence) -> str:
    """Say how many images stand behind a figure."""
    images = evidence.images
    normal = count_in_words(images.normal, "normal image")
    if name == "synthetic_auroc":
        return f" on {count_in_words(images.synthetic, 'synthetic anomaly')}"
    if name == "aupro":
        return f" on {count_in_words(images.masked, 'image')} with a mask and {normal}"
    return f" on {images.defective:,} defective and {normal}"


def _why_not_judged(name: str, evidence: Evidence) -> str:
    """Say why a figure cannot be asked for; empty where it can."""
    images = evidence.images
    if not evidence.references.ok:
        return _NOT_SCORED
    if name == "synthetic_auroc":
        if images.has_labelled_defects:
            return "labelled defects are judged by"
        return "" if images.synthetic else "the validation split has no normal image to add synthetic anomalies to"
    if name == "aupro":
        return "" if images.masked else "no test image has a mask"
    return "" if images.has_labelled_defects else "the test split does not hold both normal and defective images"


def _difference_in_words(difference: Interval, margin: float, champion: Scored) -> str:
    value = difference.value
    if value >= 0:
        return f"is {value:.3f} higher than version {champion.version}'s" if value else "is equal to the champion's"
    lower = f"is {-value:.3f} lower than version {champion.version}'s"
    if value >= -margin - _ROUNDING:
        return f"{lower}, within the margin of {margin:g}"
    if is_worse(difference, margin):
        return f"{lower}, more than the margin of {margin:g}"
    return f"{lower}, which these few images cannot tell from chance"


def _bounds(difference: Interval) -> str:
    if difference.low is None or difference.high is None:
        return f"difference {difference.value:+.3f} (no interval)"
    return f"difference {difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def _check_recall(evidence: Evidence, policy: GateSettings) -> Check:
    """Hold the share of anomalies that the image threshold marks to a floor, and against the champion's.

    False alarms alone would let a version pass that calls every image good. Synthetic anomalies stand in for labelled
    ones where these are too few. Where the candidate's threshold guarantees fewer false positives than the champion's,
    a lower recall is the price that was requested: the floor counts alone.
    """
    images, least = evidence.images, policy.least_anomalies
    labelled = images.defective >= least
    if not evidence.references.ok or not (labelled or images.synthetic >= least):
        few = (
            f"{images.defective} labelled and {images.synthetic} synthetic anomalies are fewer than the {least} needed"
        )
        why = few if evidence.references.ok else _NOT_SCORED
        return _not_judged("recall", "none", "nothing", f"recall is not judged: {why}")
    name, kind = ("recall", "labelled") if labelled else ("synthetic_recall", "synthetic")
    figure: Interval | None = getattr(evidence.candidate, name)
    difference: Interval | None = getattr(evidence.comparison, name, None)
    count = images.defective if labelled else images.synthetic
    title = f"recall of {count} {kind} anomalies at the image threshold"
    outcome, wanted, message, uncertain = _judge_recall(evidence, policy, figure, difference)
    found = f"{interval_in_words(figure)} of {count:,} {kind} anomalies" if figure else "none"
    found += f", {_bounds(difference)}" if difference else ""
    return Check(
        name="recall", outcome=outcome, found=found, wanted=wanted, message=f"{title} {message}", uncertain=uncertain
    )


def _judge_recall(
    evidence: Evidence, policy: GateSettings, figure: Interval | None, difference: Interval | None
) -> tuple[CheckOutcome, str, str, bool]:
    """Say what the recall comes to, what is wanted of it, both in words, and whether that is uncertain."""
    floor, margin, against = policy.floors.recall, policy.margins.recall, evidence.comparison
    wanted = f"at least {floor:g}"
    if figure is None:
        return CheckOutcome.REFUSED, wanted, "was not measured", False
    if not figure.value >= floor:
        return CheckOutcome.REFUSED, wanted, f"is {figure.value:.3f}, at least {floor:g} is needed", False
    if against is None:
        return CheckOutcome.PASSED, wanted, f"is {figure.value:.3f}, at least {floor:g} is needed", False
    if against.image_threshold and evidence.image_threshold.achieved_rate < against.image_threshold.achieved_rate:
        rates = (
            f"{share_in_words(evidence.image_threshold.achieved_rate)}, not "
            f"{share_in_words(against.image_threshold.achieved_rate)}"
        )
        return (
            CheckOutcome.PASSED,
            wanted,
            f"is {figure.value:.3f}, at a threshold for false positives of {rates}",
            False,
        )
    wanted += f", and not shown to be lower than version {against.champion.version}'s by more than {margin:g}"
    if difference is None:
        return CheckOutcome.REFUSED, wanted, f"was not compared with version {against.champion.version}", False
    outcome = CheckOutcome.REFUSED if is_worse(difference, margin) else CheckOutcome.PASSED
    words = _difference_in_words(difference, margin, against.champion)
    return outcome, wanted, words, _is_uncertain(difference, margin)


def _check_false_alarms(evidence: Evidence, policy: GateSettings) -> Check:
    """Set the false alarms against what a correct threshold gives; an in-sample threshold is held to the same.

    It guarantees nothing, yet what is in use must not alarm more than a guarantee from as many images could.
    """
    name, calibrated, normals = "false_alarms", evidence.image_threshold, evidence.images.normal
    if not evidence.references.ok or not normals:
        why = "no test image is normal" if evidence.references.ok else _NOT_SCORED
        return _not_judged(name, "none", "nothing", f"false alarms are not judged: {why}")
    most = most_false_alarms(calibrated.achieved_rate, calibrated.images, normals, policy.false_alarm_quantile)
    kind = "an in-sample threshold" if calibrated.in_sample else "a threshold"
    stands = f"{kind} for {share_in_words(calibrated.achieved_rate)} from {count_in_words(calibrated.images, 'image')}"
    flagged = f"{evidence.false_alarms} of {count_in_words(normals, 'normal image')}"
    return Check(
        name=name,
        outcome=CheckOutcome.PASSED if evidence.false_alarms <= most else CheckOutcome.REFUSED,
        found=f"{flagged} ({share_in_words(evidence.false_alarms / normals)})",
        wanted=f"at most {most}, the {share_in_words(policy.false_alarm_quantile)} quantile of {stands}",
        message=f"{flagged} {'is' if evidence.false_alarms == 1 else 'are'} flagged, {stands} allows {most}",
    )


def _check_latency(evidence: Evidence, policy: GateSettings) -> Check:
    name, most = "latency", policy.max_latency_ratio
    if evidence.comparison is None or not evidence.references.ok:
        why = _NOT_SCORED if evidence.comparison else "there is no champion to compare with"
        return _not_judged(name, "none", "nothing", f"latency is not judged: {why}")
    ratio, champion = evidence.comparison.latency_ratio, evidence.comparison.champion.version
    taken, allowed = evidence.comparison.latency_ms, evidence.comparison.allowed_ms
    wanted = f"p95 at most {most:g} times that of version {champion}; the interval's lower end counts"
    if allowed is not None:
        wanted += f"; or at most {allowed:g} ms a megapixel (policy.latency_ms)"
    if ratio is None:
        message = "latency was not measured"
        return Check(name=name, outcome=CheckOutcome.REFUSED, found="not measured", wanted=wanted, message=message)
    # A busy machine stirs single measurements: it is slower only where that does not explain it.
    surely = ratio.value if ratio.low is None else ratio.low
    found = f"{interval_in_words(ratio, 2)} times"
    message = f"latency p95 is {found} that of version {champion}, {most:g} are allowed"
    load = evidence.comparison.load
    in_time = taken is not None and allowed is not None and taken <= allowed
    if taken is not None and allowed is not None:
        found += f", {taken:.0f} ms a megapixel"
        message += f", or {allowed:g} ms a megapixel, of which it takes {taken:.0f}"
    outcome = CheckOutcome.PASSED if surely <= most or in_time else CheckOutcome.REFUSED
    if load is not None:
        found, message = (f"{text}, {load.message}" for text in (found, message))
    return Check(name=name, outcome=outcome, found=found, wanted=wanted, message=message)


def _not_judged(name: str, found: str, wanted: str, message: str) -> Check:
    return Check(name=name, outcome=CheckOutcome.NOT_JUDGED, found=found, wanted=wanted, message=message)


def _basis(evidence: Evidence) -> str:
    """Say what detection was judged by, and against what."""
    images = evidence.images
    against = f"{evidence.alone}: held to absolute limits"
    if evidence.comparison:
        against = f"compared with version {evidence.comparison.champion.version}"
    normal = count_in_words(images.normal, "normal test image")
    if images.has_labelled_defects:
        return f"judged by {images.defective:,} defective and {normal}; {against}"
    by = [f"false alarms on {normal}"] if images.normal else []
    by += [f"{count_in_words(images.synthetic, 'synthetic anomaly')}"] if images.synthetic else []
    judged = f"judged by {' and '.join(by)}" if by else "nothing tells how well defects are found"
    return f"no labelled defects: {judged}; {against}"
