"""How templates become pages: escaped, strict about names, with figures in words."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.core import wording
from pipelines.registry.record import DecisionRecord


def page_environment() -> Environment:
    """Return the environment that every HTML page is rendered in."""
    environment = Environment(
        loader=PackageLoader("pipelines.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"words": wording.interval_in_words}
    return environment


def render_decision(record: DecisionRecord) -> str:
    """Render the page; every text is escaped."""
    return page_environment().get_template("decision.html").render(record=record, decision=record.decision)
