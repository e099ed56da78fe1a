"""The page of one decision: what was asked, what the gate found, and what became of the champion."""

from pipelines.reports.environment import page_environment
from pipelines.ruling import Ruling


def render_decision(ruling: Ruling) -> str:
    """Render the page; every text is escaped."""
    return page_environment().get_template("decision.html").render(ruling=ruling, decision=ruling.decision)
