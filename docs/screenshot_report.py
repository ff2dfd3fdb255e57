"""A picture of a report, to be shown where a page cannot be:

    python docs/screenshot_report.py compare-20260102-030405

takes the top of its `index.html` with Chromium and writes `docs/_static/compare-report.png`. `make screenshots` compares first.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "_static" / "compare-report.png"
WIDTH, HEIGHT = 1000, 1000
MOST = 200_000  # bytes; it is loaded by everybody who looks


def main(directory: Path, picture: Path = PICTURE) -> None:
    page_file = directory / "index.html"
    if not page_file.is_file():
        sys.exit(f"{page_file} is not there; everywire compare writes it")
    picture.write_bytes(taken(page_file))
    size = picture.stat().st_size
    print(f"{picture}: {size:,} bytes")
    if size > MOST:
        sys.exit(f"more than {MOST:,} bytes: take a page with less on it")


def taken(file: Path) -> bytes:
    """What answers the question: the header, the first picture and the percentiles, without the long table between them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(file.resolve().as_uri())
        page.add_style_tag(content="nav, details, [aria-labelledby=figures], [aria-labelledby=thresholds] { display: none }")
        box = page.locator("[aria-labelledby=percentiles]").bounding_box()
        assert box, "a report without percentiles makes no picture"
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": min(HEIGHT * 1.2, box["y"] + box["height"] + 16)}
        return page.screenshot(full_page=True, clip=clip, type="png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
