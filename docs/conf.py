"""Sphinx configuration. Builds offline; the pages ask nobody but their own server for anything."""

project = "everywire"
copyright = "the everywire contributors"  # noqa: A001 - Sphinx reads this name
author = "the everywire contributors"
version = release = "0.1.0"

extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = "everywire"
html_static_path = ["_static"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
