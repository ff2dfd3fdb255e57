"""Report: the right figures, in a page that needs nothing else."""

import re
from html.parser import HTMLParser

import pytest
from runs import a_run

from locustfiles import report
from locustfiles.samples import Run

RUN = a_run({"websocket": [1000, 1100, 1200], "sse": [2000, 2100, 2200], "longpoll": [4000, 5000, 6000]})


def figures(run: Run) -> dict[str, list[str]]:
    return {line.label: line.figures for line in report.table(run)}


def test_known_figures():
    found = figures(RUN)
    assert found["Readers"] == ["2", "2", "2"]
    assert found["Deliveries offered"] == ["40", "40", "40"]
    assert found["Deliveries achieved"] == ["40", "40", "40"]
    assert found["Delivered"] == ["120", "120", "120"]
    assert found["Requests per event"] == ["0.000", "0.000", "1.000"]
    assert found["Bytes per event"] == ["210", "210", "210"]
    assert found["Server CPU per 1,000 deliveries"] == ["0.500", "0.500", "0.500"]
    assert found["Server memory, most"] == ["40.0", "40.0", "40.0"]


def test_the_delay_is_the_median_of_the_repeats():
    low, mid, high = (each.sample.delays.percentile(50) for each in RUN.of("longpoll"))
    assert low < mid < high
    assert figures(RUN)["Delay p50"][2] == f"{mid / 1000:.3f}"


def test_the_text_is_aligned():
    rows = report.text(RUN).splitlines()
    assert len({len(row) for row in rows}) == 1
    assert rows[0].split() == ["WebSocket", "SSE", "long-polling"]


def test_a_line_of_progress_has_delay_and_faults():
    assert re.search(r"WebSocket +1/3 +delay p50 +\d\.\d{3} ms .* lost 0, doubled 0, disordered 0", report.line(RUN.rounds[0], 3))


class Page(HTMLParser):
    """What a page refers to, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "action")]


def test_the_page_needs_nothing_else():
    text = report.html(RUN)
    page = Page(text)
    assert not page.links
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert not re.search(r"https?://|url\(|@import", text)


def test_tables_have_captions_and_scopes():
    text = report.html(RUN)
    assert text.count("<table") == text.count("<caption>") == 3
    assert not re.search(r"<th(?! scope=)[ >]", text)


def test_what_comes_from_outside_is_escaped():
    text = report.html(RUN)
    assert "everywire compare &lt;x&gt;" in text
    assert "<x>" not in text


def test_a_run_that_delivered_nothing_is_shown_too():
    run = a_run({"sse": [1000]})
    run.rounds[0].sample.delays = report.Histogram()
    run.rounds[0].server = None
    assert "–" in report.html(run)
    assert report.line(run.rounds[0], 1)


@pytest.mark.parametrize("clock", ["kernel", "process"])
def test_the_page_says_what_arrival_means(clock: str):
    page = report.html(a_run({"sse": [1000, 2000]}, clock=clock))
    assert ("kernel received the bytes" in page) is (clock == "kernel")
