"""The promotion gate: from facts and a surface's policy to a decision with its reasons; nothing is read or run."""

from pipelines.core.records import Interval
from pipelines.core.surface_settings import GateSettings
from pipelines.core.wording import count_in_words, interval_in_words, share_in_words
from pipelines.metrics.conformal import most_false_alarms
from pipelines.registry.decision import Check, Decision, Facts, Finding, Outcome, Scored

_DETECTION = {
    "image_auroc": "image AUROC",
    "aupro": "AUPRO",
    "planted_auroc": "image AUROC with planted defects",
}

# Whatever it scores would be figures of something else than what was registered.
_NOT_SCORED = "a version that does not reproduce its reference tiles is not scored"

# 0.94 - 0.95 must not be worse by more than 0.01.
_ROUNDING = 1e-9


def decide(facts: Facts, policy: GateSettings) -> Decision:
    """Accept the candidate where no check speaks against it; every check is listed, whatever its outcome."""
    checks = (
        _sound("validation", facts.validation, "data that validation accepted"),
        _sound("references", facts.references, "loads in a fresh process and reproduces its reference tiles"),
        _sound("parity", facts.parity, "the exported network judges as the fitted one"),
        _sound("coordinates", facts.coordinates, "maps and region in the surface's own coordinates"),
        _check_detection("image_auroc", facts, policy),
        _check_detection("aupro", facts, policy),
        _check_detection("planted_auroc", facts, policy),
        _check_recall(facts, policy),
        _check_false_alarms(facts, policy),
        _check_latency(facts, policy),
    )
    accepted = all(check.passed for check in checks)
    return Decision(accepted=accepted, basis=_basis(facts), checks=checks, facts=facts, policy=policy)


def is_worse(difference: Interval, margin: float) -> bool:
    """Tell whether a difference, candidate minus champion, shows that the candidate is worse by more than a margin.

    Two things must come together: the best estimate is lower by more than the margin, and the 95 % interval lies
    wholly below 0, so that chance does not explain it. To demand proof that it is not worse (lower bound above -margin)
    would leave most surfaces with their first version for ever, and the estimate alone would often go by chance.
    Simulated with an AUROC of 0.93, noise correlated by 0.64 and a margin of 0.01, an equal candidate is refused in
    2 % of trials on 100 sound and 220 defective photographs (by the estimate alone 25 %, by proof 88 %), in 3 % on
    20 and 20 (46 %, 94 %); one that is worse by 0.05 in 86 % and in 28 %. That is the price: with few photographs a
    loss can go unseen, and the check says so. Without bounds the estimate decides alone; what is not finite is worse.

    >>> is_worse(Interval(value=-0.05, low=-0.07, high=-0.03), 0.01)
    True
    >>> is_worse(Interval(value=-0.05, low=-0.14, high=0.03), 0.01)
    False
    """
    within = difference.value >= -margin - _ROUNDING
    return not (within or (difference.high is not None and difference.high >= 0))


def _sound(name: str, finding: Finding, wanted: str) -> Check:
    outcome = Outcome.PASSED if finding.ok else Outcome.REFUSED
    found = finding.words or ("as wanted" if finding.ok else "not as wanted")
    return Check(name=name, outcome=outcome, found=found, wanted=wanted, words=f"{name}: {found}")


def _check_detection(name: str, facts: Facts, policy: GateSettings) -> Check:
    """Set one figure of detection against the champion's, or against its floor where there is no champion."""
    title, against = _DETECTION[name], facts.comparison
    figure: Interval | None = getattr(facts.candidate, name)
    found = interval_in_words(figure) if figure else "none"
    if reason := _why_not_judged(name, facts):
        return _not_judged(name, found, "nothing", f"{title} is not judged: {reason}")
    if against is None:
        floor: float = getattr(policy.floors, name)
        outcome = Outcome.PASSED if figure and figure.value >= floor else Outcome.REFUSED
        value = f"is {figure.value:.3f}" if figure else "was not measured"
        words = f"{title} {value}, a first champion needs {floor:g}"
        return Check(name=name, outcome=outcome, found=found, wanted=f"at least {floor:g}", words=words)
    margin: float = getattr(policy.margins, name)
    wanted = f"not shown to be lower than version {against.champion.version}'s by more than {margin:g}"
    difference: Interval | None = getattr(against, name)
    if figure is None or difference is None:
        words = f"{title} was not compared with version {against.champion.version}"
        return Check(name=name, outcome=Outcome.REFUSED, found=found, wanted=wanted, words=words)
    outcome = Outcome.REFUSED if is_worse(difference, margin) else Outcome.PASSED
    words = f"{title} {_difference_in_words(difference, margin, against.champion)}"
    return Check(name=name, outcome=outcome, found=f"{found}, {_bounds(difference)}", wanted=wanted, words=words)


def _why_not_judged(name: str, facts: Facts) -> str:
    """Say why a figure cannot be asked for; empty where it can."""
    images = facts.images
    if not facts.references.ok:
        return _NOT_SCORED
    if name == "planted_auroc":
        if images.has_labelled_defects:
            return "labelled defects are judged by"
        return "" if images.planted else "the select part has no sound photograph to plant into"
    if name == "aupro":
        return "" if images.masked else "no test photograph has a mask"
    return "" if images.has_labelled_defects else "the test part does not hold both sound and defective photographs"


def _difference_in_words(difference: Interval, margin: float, champion: Scored) -> str:
    value = difference.value
    if value >= 0:
        return f"is {value:.3f} higher than version {champion.version}'s" if value else "is equal to the champion's"
    lower = f"is {-value:.3f} lower than version {champion.version}'s"
    if value >= -margin - _ROUNDING:
        return f"{lower}, within the margin of {margin:g}"
    if is_worse(difference, margin):
        return f"{lower}, more than the margin of {margin:g}"
    return f"{lower}, which these few photographs cannot tell from chance"


def _bounds(difference: Interval) -> str:
    if difference.low is None or difference.high is None:
        return f"difference {difference.value:+.3f} (no interval)"
    return f"difference {difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def _check_recall(facts: Facts, policy: GateSettings) -> Check:
    """Hold the share of anomalies that the image threshold marks to a floor, and against the champion's.

    False alarms alone would let a version pass that calls every image good. Synthetic anomalies stand in for labelled
    ones where these are too few. Where the candidate's threshold promises fewer false positives than the champion's, a
    lower recall is the price that was asked for: the floor counts alone.
    """
    images, least = facts.images, policy.least_anomalies
    labelled = images.defective >= least
    if not facts.references.ok or not (labelled or images.planted >= least):
        few = f"{images.defective} labelled and {images.planted} synthetic anomalies are fewer than the {least} needed"
        why = few if facts.references.ok else _NOT_SCORED
        return _not_judged("recall", "none", "nothing", f"recall is not judged: {why}")
    name, kind = ("recall", "labelled") if labelled else ("planted_recall", "synthetic")
    figure: Interval | None = getattr(facts.candidate, name)
    difference: Interval | None = getattr(facts.comparison, name, None)
    title = f"recall of {images.defective if labelled else images.planted} {kind} anomalies at the image threshold"
    outcome, wanted, words = _judge_recall(facts, policy, figure, difference)
    found = f"{interval_in_words(figure)} of {kind} anomalies" if figure else "none"
    found += f", {_bounds(difference)}" if difference else ""
    return Check(name="recall", outcome=outcome, found=found, wanted=wanted, words=f"{title} {words}")


def _judge_recall(
    facts: Facts, policy: GateSettings, figure: Interval | None, difference: Interval | None
) -> tuple[Outcome, str, str]:
    """Say what the recall comes to, what is wanted of it, and both in words."""
    floor, margin, against = policy.floors.recall, policy.margins.recall, facts.comparison
    wanted = f"at least {floor:g}"
    if figure is None:
        return Outcome.REFUSED, wanted, "was not measured"
    if not figure.value >= floor:
        return Outcome.REFUSED, wanted, f"is {figure.value:.3f}, at least {floor:g} is needed"
    if against is None:
        return Outcome.PASSED, wanted, f"is {figure.value:.3f}, at least {floor:g} is needed"
    if against.promise and facts.promise.rate < against.promise.rate:
        rates = f"{share_in_words(facts.promise.rate)}, not {share_in_words(against.promise.rate)}"
        return Outcome.PASSED, wanted, f"is {figure.value:.3f}, at a threshold for false positives of {rates}"
    wanted += f", and not shown to be lower than version {against.champion.version}'s by more than {margin:g}"
    if difference is None:
        return Outcome.REFUSED, wanted, f"was not compared with version {against.champion.version}"
    outcome = Outcome.REFUSED if is_worse(difference, margin) else Outcome.PASSED
    return outcome, wanted, _difference_in_words(difference, margin, against.champion)


def _check_false_alarms(facts: Facts, policy: GateSettings) -> Check:
    """Set the false alarms against what a correct threshold gives; an estimate is held to the same.

    It promises nothing, yet what is in use must not alarm more than a promise from as many photographs could.
    """
    name, promise, normals = "false_alarms", facts.promise, facts.images.normal
    if not facts.references.ok or not normals:
        why = "no test photograph is sound" if facts.references.ok else _NOT_SCORED
        return _not_judged(name, "none", "nothing", f"false alarms are not judged: {why}")
    most = most_false_alarms(promise.rate, promise.images, normals, policy.false_alarm_quantile)
    kind = "an estimate" if promise.estimate else "a threshold"
    stands = f"{kind} for {share_in_words(promise.rate)} from {count_in_words(promise.images, 'photograph')}"
    marked = f"{facts.false_alarms} of {count_in_words(normals, 'sound photograph')}"
    return Check(
        name=name,
        outcome=Outcome.PASSED if facts.false_alarms <= most else Outcome.REFUSED,
        found=f"{marked} ({share_in_words(facts.false_alarms / normals)})",
        wanted=f"at most {most}, the {share_in_words(policy.false_alarm_quantile)} quantile of {stands}",
        words=f"{marked} {'is' if facts.false_alarms == 1 else 'are'} marked, {stands} allows {most}",
    )


def _check_latency(facts: Facts, policy: GateSettings) -> Check:
    name, most = "latency", policy.max_latency_ratio
    if facts.comparison is None or not facts.references.ok:
        why = _NOT_SCORED if facts.comparison else "there is no champion to compare with"
        return _not_judged(name, "none", "nothing", f"latency is not judged: {why}")
    ratio, champion = facts.comparison.latency_ratio, facts.comparison.champion.version
    wanted = f"p95 at most {most:g} times that of version {champion}; the interval's lower end counts"
    if ratio is None:
        words = "latency was not measured"
        return Check(name=name, outcome=Outcome.REFUSED, found="not measured", wanted=wanted, words=words)
    # A busy machine stirs single measurements: it is slower only where that does not explain it.
    surely = ratio.value if ratio.low is None else ratio.low
    found = f"{interval_in_words(ratio, 2)} times"
    return Check(
        name=name,
        outcome=Outcome.REFUSED if surely > most else Outcome.PASSED,
        found=found,
        wanted=wanted,
        words=f"latency p95 is {found} that of version {champion}, {most:g} are allowed",
    )


def _not_judged(name: str, found: str, wanted: str, words: str) -> Check:
    return Check(name=name, outcome=Outcome.NOT_JUDGED, found=found, wanted=wanted, words=words)


def _basis(facts: Facts) -> str:
    """Say what detection was judged by, and against what."""
    images = facts.images
    against = f"{facts.alone}: held to absolute limits"
    if facts.comparison:
        against = f"compared with version {facts.comparison.champion.version}"
    sound = count_in_words(images.normal, "sound test photograph")
    if images.has_labelled_defects:
        return f"judged by {images.defective:,} defective and {sound}; {against}"
    by = [f"false alarms on {sound}"] if images.normal else []
    by += [f"{count_in_words(images.planted, 'planted defect')}"] if images.planted else []
    judged = f"judged by {' and '.join(by)}" if by else "nothing tells how well defects are found"
    return f"no labelled defects: {judged}; {against}"
