"""'Did you mean': the known name that is closest to one that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 80  # characters of a name that are compared; what is longer is no slip of the pen


class UnknownNameError(ValueError):
    """A value that settings refuse because it is none of those known; `found` and `known` say what to offer."""

    def __init__(self, problem: str, found: str, known: Iterable[str]) -> None:
        super().__init__(problem)
        self.found, self.known = found, tuple(known)


def find_closest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that one was probably meant to be.

    Args:
        name: As it was written; capitals do not count.
        known: The names that there are.

    Returns:
        One of `known`; None where none is close, or the name is one of them: then something else is wrong.

    >>> find_closest("wod-boards", ["fabric", "wood-boards"])
    'wood-boards'
    """
    names = list(known)
    if name in names:
        return None
    lower = {other.casefold(): other for other in names}
    found = get_close_matches(name[:_LONGEST].casefold(), lower, n=1)
    return lower[found[0]] if found else None


def offer_closest(hint: str, name: str, known: Iterable[str]) -> str:
    """Put the closest name before a hint.

    Args:
        hint: What to do where no name is close.
        name: As it was written.
        known: The names that there are.

    Returns:
        The hint, after the question where a name is close.
    """
    return offer(hint, filter(None, [find_closest(name, known)]))


def offer(hint: str, names: Iterable[str]) -> str:
    """Put names before a hint.

    Args:
        hint: What else to do.
        names: Offered in this order, each once; there may be none.

    Returns:
        The hint, after the question where there are names.

    >>> offer("choose one of quick, full", ["full"])
    "did you mean 'full'? Otherwise choose one of quick, full"
    """
    quoted = " and ".join(f"'{name}'" for name in dict.fromkeys(names))
    return f"did you mean {quoted}? Otherwise {hint}" if quoted else hint
