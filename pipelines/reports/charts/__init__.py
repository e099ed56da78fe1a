"""Charts as SVG: for pages, and as files of their own."""
