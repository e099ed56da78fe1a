"""The executed notebook as one HTML file that asks for nothing outside of itself."""

from typing import Any

from markupsafe import Markup

from pipelines.reports.environment import page_environment


def render_page(notebook: Any) -> str:
    """Render cells and outputs with the project's own style; Jupyter's own pages load scripts from elsewhere."""
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True
    )
    body, _ = exporter.from_notebook_node(notebook)
    title = next((line[2:] for c in notebook.cells for line in c.source.split("\n") if line.startswith("# ")), "Study")
    # The cells are ours, and what they show of files and folders was escaped as it was made.
    return page_environment().get_template("study.html").render(title=title, body=Markup(body))  # noqa: S704
