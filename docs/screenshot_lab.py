"""Pictures of the lab, light and dark, for where a page cannot be:

    make screenshots

starts `everywire lab`, takes away WebSocket from the lane that chooses by itself, waits until it has found another way, and
writes `docs/_static/lab-light.webp` and `lab-dark.webp`.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

STATIC = Path(__file__).parent / "_static"
WIDTH, HEIGHT = 1366, 1000
MOST = 250_000  # bytes of a picture; it is loaded by everybody who looks


def main(directory: Path = STATIC, seconds: float = 20.0) -> None:
    """Write the pictures there, each after so many seconds of what there is to be seen."""
    lab = subprocess.Popen([sys.executable, "-m", "quart_app", "lab", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert lab.stdout is not None
        url = next(word for word in lab.stdout.readline().split() if word.startswith("http"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
            for scheme in ("light", "dark"):
                picture = directory / f"lab-{scheme}.webp"
                picture.write_bytes(taken(browser, url, scheme, seconds))
                size = picture.stat().st_size
                print(f"{picture}: {size:,} bytes")
                if size > MOST:
                    sys.exit(f"more than {MOST:,} bytes: take a page with less on it")
    finally:
        lab.terminate()
        lab.wait()


def taken(browser: Browser, url: str, scheme: str, seconds: float) -> bytes:
    """The page with something on it: all lanes live, one of them on a network that lets no WebSocket through."""
    ask(url, "network", {"lanes": ["auto"], "network": "no-upgrade"})
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{url}?lang=en")
    expect(page.locator(".lane[data-state=open]")).to_have_count(4, timeout=30_000)
    expect(page.locator(".pane mark")).to_have_count(4, timeout=30_000)
    page.wait_for_timeout(1000 * seconds)  # until there is a strip to look at
    page.get_by_role("button", name="Pause display").click()
    page.evaluate("document.activeElement.blur()")
    try:
        box = page.locator("#wire").bounding_box()
        assert box, "a lab without a wire makes no picture"
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 16, "scale": 1}
        wanted = {"format": "webp", "quality": 88, "clip": clip, "captureBeyondViewport": True}  # PNG takes three times as much
        return base64.b64decode(page.context.new_cdp_session(page).send("Page.captureScreenshot", wanted)["data"])
    finally:
        page.close()


def ask(url: str, what: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(url + what, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()


if __name__ == "__main__":
    main()
