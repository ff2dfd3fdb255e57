"""The scripts that take pictures of what cannot be shown as a page: a small one of each has its size, and something on it."""

from __future__ import annotations

import runpy
import struct
from pathlib import Path

import pytest

from locustfiles.reporting import report
from tests.browser.conftest import executable
from tests.documents import ROOT
from tests.locustfiles.bigrun import a_big_run

pytestmark = [pytest.mark.browser, pytest.mark.real]

EMPTY = 8_000  # bytes that a picture without anything on it may take
LAB, REPORT = (runpy.run_path(str(ROOT / "docs" / f"screenshot_{name}.py")) for name in ("lab", "report"))


def shape(picture: Path) -> tuple[int, int]:
    """Its width and height, as the file says."""
    head = picture.read_bytes()[:40]
    if head.startswith(b"\x89PNG"):
        return struct.unpack_from(">II", head, 16)
    assert (head[:4], head[8:16]) == (b"RIFF", b"WEBPVP8 ")
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def test_the_pictures_that_are_shown_are_such() -> None:
    for name in ("lab-light.webp", "lab-dark.webp"):
        assert shape(LAB["STATIC"] / name)[0] == LAB["WIDTH"]
    assert shape(REPORT["PICTURE"])[0] == REPORT["WIDTH"]


def test_pictures_of_the_lab_are_taken(tmp_path: Path) -> None:
    executable()
    LAB["main"](tmp_path, seconds=0.1)
    for name in ("lab-light.webp", "lab-dark.webp"):
        width, height = shape(tmp_path / name)
        assert width == LAB["WIDTH"]
        assert height > 600
        assert EMPTY < (tmp_path / name).stat().st_size <= LAB["MOST"]
    assert (tmp_path / "lab-light.webp").read_bytes() != (tmp_path / "lab-dark.webp").read_bytes()


def test_a_picture_of_a_report_is_taken(tmp_path: Path) -> None:
    executable()
    (tmp_path / "index.html").write_text(report.html(a_big_run(networks=("open",), repeats=2)), encoding="utf-8")
    picture = tmp_path / "report.png"
    REPORT["main"](tmp_path, picture)
    width, height = shape(picture)
    assert width == REPORT["WIDTH"]
    assert 600 < height <= 1.2 * REPORT["HEIGHT"]
    assert EMPTY < picture.stat().st_size <= REPORT["MOST"]
