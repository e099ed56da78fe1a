"""Which versions of a run become members of its ensemble: in a fixed order, as many as time allows."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from pipelines.core.records import Record
from pipelines.core.results import VersionSummary
from pipelines.training.ensemble.settings import EnsembleSettings


class MemberChoice(Record):
    """The members, in the order in which they were taken, and why others stay out, in words by name.

    `doubted` are members whose time, taken on a busy machine, would have kept them out.
    """

    members: tuple[str, ...]
    left_out: dict[str, str] = Field(default_factory=dict)
    doubted: dict[str, str] = Field(default_factory=dict)

    @property
    def alone(self) -> str:
        """Name the member that no other one joins; an ensemble of it is that version again. Else empty."""
        return self.members[0] if len(self.members) == 1 and self.left_out else ""

    @property
    def reasons(self) -> str:
        """Say why others stay out; empty where none does."""
        return "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())

    def notes(self, versions: Mapping[str, int]) -> dict[str, str]:
        """Say for the model card what the ensemble is made of.

        Args:
            versions: Numbers of the members' versions, by name.

        Returns:
            Sentences by a word, as `Trained.notes` has them.
        """
        found = {"members": ", ".join(f"{name} (version {versions[name]})" for name in self.members)}
        if self.left_out:
            found["left out"] = self.reasons
        if self.doubted:
            found["not left out for its time"] = "; ".join(f"{name}: {why}" for name, why in self.doubted.items())
        return found


def choose_members(versions: Sequence[VersionSummary], settings: EnsembleSettings, latency_ms: float) -> MemberChoice:
    """Choose the members of an ensemble.

    The order is that of `settings.members`, which was measured over several surfaces: synthetic anomalies of the
    surface itself rank algorithms no better than chance, and are asked only whether one tells nothing at all.

    Args:
        versions: At most one of each algorithm; those that `settings` do not name stay out.
        settings: Order, and what keeps one out.
        latency_ms: How long all members together may take, milliseconds for a megapixel. The first of the order is
            taken however long it takes, and so is one that was timed while other work ran: its time says little.

    Returns:
        The choice; without members where none of the versions is named.
    """
    by_name = {version.algorithm: version for version in versions}
    members: list[str] = []
    left_out: dict[str, str] = {}
    doubted: dict[str, str] = {}
    spent = 0.0
    for name in (name for name, weight in settings.members.items() if weight and name in by_name):
        auroc = by_name[name].validation.get("image_auroc")
        needed, busy = by_name[name].latency_ms or 0.0, by_name[name].busy
        is_above = spent + needed > latency_ms
        if auroc is not None and auroc < settings.least_auroc:
            left_out[name] = f"image AUROC {auroc:.3f} on synthetic anomalies, below {settings.least_auroc:g}"
        elif is_above and busy:
            members.append(name)
            doubted[name] = f"{needed:.0f} ms a megapixel, timed at {busy}"
        elif members and is_above:
            left_out[name] = f"{needed:.0f} ms a megapixel, with the others {spent + needed:.0f}, above {latency_ms:g}"
        else:
            members.append(name)
            spent += needed
    if not members and left_out:
        # Something must be proposed: the first of the order, as if it stood alone.
        first = next(iter(left_out))
        left_out.pop(first)
        members.append(first)
    return MemberChoice(members=tuple(members), left_out=left_out, doubted=doubted)
