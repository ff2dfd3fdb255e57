"""Sphinx configuration. Builds offline; the pages ask nobody but their own server for anything."""

import re
from pathlib import Path

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

# What the theme and the writer leave out for those who hear the pages, or have no mouse.
_MEND = (
    ('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="All pages">'),
    ('<aside class="toc-drawer', '<aside aria-label="On this page" class="toc-drawer'),
    ("<pre>", '<pre tabindex="0">'),  # may be wider than the screen
    ('href="http://127.0.0.1:8000/lab/', 'href="/lab/'),  # which serves these pages too, on whichever port
)
_TITLE_OR_TABLE = re.compile(r'<h[1-6]>((?:(?!</h).)*)<a class="headerlink"|<div class="table-wrapper', re.DOTALL)


def _tables(page):
    """Tables too may be wider than the screen: who has no mouse can scroll them, and hears under which title they stand."""
    title = ""

    def mended(found):
        nonlocal title
        if found[1] is None:
            return f'<div tabindex="0" role="group" aria-label="Table: {title}" class="table-wrapper'
        title = re.sub("<[^>]*>", "", found[1]).replace('"', "&quot;")
        return found[0]

    return _TITLE_OR_TABLE.sub(mended, page)


def _mend(app, error):
    """Mend the pages that were written; what is mended already stays as it is."""
    if error is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        mended = _tables(re.sub(r'<th class="head">(<p></p>)?</th>', '<td class="head"></td>', page))
        for before, after in _MEND:
            mended = mended.replace(before, after)
        if path.name == "search.html" and "<h1" not in mended:
            mended = mended.replace('id="furo-main-content">', 'id="furo-main-content"><h1>Search</h1>')
        if mended != page:
            path.write_text(mended, encoding="utf-8")


def setup(app):
    """See Sphinx."""
    app.connect("build-finished", _mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
