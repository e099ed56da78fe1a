"""Settings of the documentation site: Sphinx, Markdown by MyST, the theme furo; nothing is loaded from outside."""

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "knotwatch"
author = "the knotwatch authors"
project_copyright = "the knotwatch authors, Apache-2.0"
try:
    release = metadata.version("knotwatch")
except metadata.PackageNotFoundError:
    release = "source"

extensions = ["myst_parser", "generate"]
exclude_patterns = ["_build", "_ext", "examples"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nitpicky = True
# Typographic dashes would spoil every --option.
smartquotes = False

html_theme = "furo"
html_title = "knotwatch"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False
html_copy_source = False
# The default search page and the theme bring everything that they need with them.
html_use_opensearch = ""
