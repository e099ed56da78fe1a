"""What a change of a surface begins with, once it is locked: nothing that was left over stands in its way."""

from flows.promotion.requests import settle_requests
from flows.runtime.leftovers import clear_up
from flows.runtime.session import Session


def end_leftovers(session: Session) -> None:
    """Remove what a killed process left of this surface, once a session."""
    session.once(end_leftovers, lambda: clear_up(session))


def answer_requests(session: Session) -> None:
    """Decide on aliases that were set by hand, and end moves that were begun, once a session; the data are current."""
    session.once(answer_requests, lambda: settle_requests(session))
