"""Report: the right figures, in a page that needs nothing else."""

import re
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest
from bigrun import FAULTS, a_big_run, with_steps
from runs import a_run

from locustfiles.histogram import merged
from locustfiles.judging.verdict import judge
from locustfiles.reporting import report
from locustfiles.reporting.drawings.percentiles import PERCENTS
from locustfiles.samples import Run, decode, encode

RUN = a_run({"websocket": [1000, 1100, 1200], "sse": [2000, 2100, 2200], "longpoll": [4000, 5000, 6000]})
ONE = a_big_run(networks=("open",), faults=FAULTS, slo=("p99<50ms", "sse:p50<0.1ms"))
BIG = a_big_run(faults=FAULTS, slo=("p99<50ms", "lost==0"))
SUBJECTS = a_big_run(networks=("open",), subjects=("everywire", "http://127.0.0.1:9000"), transports=("websocket", "sse"))
RUNS = {
    "small": RUN,
    "one network": ONE,
    "several networks": BIG,
    "several servers": SUBJECTS,
    "capacity": with_steps(a_run({"sse": [1000, 1200], "longpoll": [900, 800]})),
}
HOSTILE = "<script>alert(1)</script>&\"'{{ 7 * 7 }}"


@cache
def page(name: str) -> str:
    """The page of one of the runs above."""
    return report.html(RUNS[name])


class Page(HTMLParser):
    """What a page refers to, its ids, its tags and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "xlink:href", "action", "data")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def tables(text: str) -> dict[str, dict[str, list[str]]]:
    """The cells of each table by its caption and the name of the row; rows of several groups with the group's name before it."""
    found = {}
    for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
        caption = re.search(r"<caption>(.*?)</caption>", table, re.DOTALL)[1]
        rows, group = found.setdefault(caption, {}), ""
        for row in re.findall(r"<tr.*?</tr>", table.partition("</thead>")[2], re.DOTALL):
            head, *cells = [Page(cell).text for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
            if "rowgroup" in row:
                group = f"{head}: "
            else:
                rows[group + head] = cells
    return found


@pytest.mark.parametrize("name", RUNS)
def test_the_page_needs_nothing_else(name: str):
    text = page(name)
    found = Page(text)
    assert {link[:1] for link in found.links} == {"#"}
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert not {"script", "link", "iframe", "img", "image", "use", "object", "embed", "form", "base"} & set(found.tags)
    assert not re.search(r"url\(|@import|@font-face|\son\w+=", text)
    assert "http" not in re.sub(r">[^<]*<", "><", text)  # in words only


@pytest.mark.parametrize("name", RUNS)
def test_pictures_are_well_formed_and_ids_unique(name: str):
    text = page(name)
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert pictures
    for picture in pictures:
        for element in ElementTree.fromstring(picture).iter("path"):
            assert re.fullmatch(r"(M-?[\d.]+ -?[\d.]+ ?([\d. -]|[hvlHVz])*)*", element.get("d", "?"))
    ids = Page(text).ids
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", RUNS)
def test_tables_have_captions_and_scopes(name: str):
    text = page(name)
    assert text.count("<table") == text.count("<caption>") == len(re.findall(r"<caption>[^<]+</caption>", text))
    assert not re.search(r"<th(?! scope=)[ >]", text)
    assert text.count("<details") <= text.count("<summary")


def test_the_largest_page_is_not_too_large():
    """6 networks, 4 transports, 5 repeats; and faults, which draw the most."""
    assert len(BIG.rounds) == 120
    assert len(page("several networks").encode()) <= 300_000


def test_a_page_made_from_the_file_is_the_same():
    assert report.html(decode(encode(ONE))) == page("one network")


def test_every_network_has_its_verdict():
    text = Page(page("several networks")).text
    for each in judge(BIG).each:
        answer = each.sentence.partition(": ")[2]
        for part in answer.rstrip(".").split("; "):
            assert f"{part[:1].upper()}{part[1:]}." in text


def test_the_page_begins_with_the_question():
    assert f"<h1>{ONE.plan.question}</h1>" in page("one network")
    assert "WebSocket, SSE, long-polling compared" in report.html(RUN)  # where there is no question


def test_a_run_that_was_broken_off_says_so():
    run = msgspec.structs.replace(ONE, complete=False, wanted=20, rounds=ONE.rounds[:6])
    text = Page(report.html(run)).text
    assert "Incomplete, and so not trustworthy." in text
    assert "The run was broken off after 6 of 20 rounds." in text
    assert "✗ Not trustworthy" in text
    assert "✓ Trustworthy" not in text


def test_a_run_that_was_disturbed_says_so():
    run = decode(encode(ONE))
    for each in run.rounds:
        each.sample.cpu = 0.99
    text = report.html(run)
    assert "Not trustworthy. The figures below are what was recorded; do not compare by them." in Page(text).text
    (checks,) = (rows for caption, rows in tables(text).items() if caption.startswith("The worst that was seen"))
    assert checks["Generator CPU"][:3] == ["✗ does not hold", "99%", "at most 85%"]
    assert "ot trustworthy" not in page("one network")


def test_thresholds_are_shown_with_what_was_measured():
    found = re.findall(
        r"<tr><th scope=\"row\"><code>(.*?)</code></th><td class=\"words\">(.*?)</td><td>(.*?)</td>.*?([✓✗])", page("one network")
    )
    assert ("sse:p50&lt;0.1ms", "SSE") in [each[:2] for each in found]
    assert [each[3] for each in found] == ["✗", "✓", "✓", "✓", "✓"]
    assert "✗ Thresholds : 4 of 5 met" in Page(page("one network")).text.replace("Thresholds:", "Thresholds :")


def test_percentiles_in_the_table_are_those_of_the_run():
    found = tables(page("one network"))["Delay in milliseconds, all repeats together."]
    for lane, name in zip(ONE.lanes(), ("WebSocket", "SSE", "long-polling", "negotiated"), strict=True):
        whole = merged(each.sample.delays for each in ONE.of(lane))
        assert found[name] == [f"{(whole.percentile(percent) or 0) / 1000:,.3f}" for percent in PERCENTS]


def test_rounds_in_the_table_are_those_of_the_run():
    captions = tables(page("one network"))
    found = next(rows for caption, rows in captions.items() if caption.startswith("In the order in which they were played"))
    assert len(found) == len(ONE.rounds)
    sample = ONE.rounds[5].sample
    cells = found["SSE 2"]
    assert cells[:4] == [
        f"{(sample.delays.percentile(50) or 0) / 1000:.3f}",
        f"{(sample.delays.percentile(99) or 0) / 1000:.3f}",
        f"{sample.tally.lost:,}",
        f"{sample.cpu:.0%}",
    ]


def test_a_network_that_shuts_somebody_out_is_no_fault():
    found = tables(page("several networks"))
    (caption,) = (caption for caption in found if caption.startswith("Counts are sums"))
    assert found[caption]["buffering: SSE"][:1] == ["0 of 100"]
    assert "does not get through" in page("several networks")


def test_what_comes_from_outside_is_escaped():
    run = decode(encode(ONE))
    run.command = run.environment["python"] = run.environment[HOSTILE] = HOSTILE
    run.plan = msgspec.structs.replace(
        run.plan, question=HOSTILE, scenario=HOSTILE, subjects=(HOSTILE,), networks=(HOSTILE,), slo=()
    )
    run.counts = {HOSTILE: HOSTILE}
    run.started = HOSTILE
    for each in run.rounds:
        each.lane = each.lane._replace(network=HOSTILE, subject=HOSTILE)
        each.sample.failures = {f"cut: {HOSTILE}": 3}
        each.sample.chosen = {HOSTILE: 2}
        each.sample.published.refused = {HOSTILE: 1}
        for mark in each.marks:
            mark.do = HOSTILE
    text = report.html(run)
    assert HOSTILE in Page(text).text
    assert "<script" not in text
    assert "49" not in re.findall(r"alert\(1\).{60}", text)[0]
    assert "script" not in Page(text).tags
    assert Page(text).tags.count("section") == Page(page("one network")).tags.count("section") - 1  # no thresholds
    assert not [name for name in re.findall(r'class="([^"]*)"', text) if "alert" in name]


def test_sections_without_data_are_left_out():
    assert {"thresholds", "recovery", "capacity", "advice"}.isdisjoint(Page(report.html(a_run({"sse": [1000, 1100]}))).ids)
    assert {"thresholds", "recovery"} <= set(Page(page("one network")).ids)
    assert "capacity" in Page(page("capacity")).ids


def test_a_run_that_delivered_nothing_is_shown_too():
    run = a_run({"sse": [1000]})
    run.rounds[0].sample.delays = merged([])
    run.rounds[0].sample.timeline = []
    run.rounds[0].server = None
    assert "nothing arrived" in report.html(run)
    assert report.text(run)


def test_a_run_without_any_round_is_shown_too():
    run = msgspec.structs.replace(RUN, rounds=[], complete=False)
    assert "Incomplete" in report.html(run)
    assert "broken off" in report.text(run)


@pytest.mark.parametrize("clock", ["kernel", "process"])
def test_the_page_says_what_arrival_means(clock: str):
    text = report.html(a_run({"sse": [1000, 2000]}, clock=clock))
    assert ("kernel received the bytes" in text) is (clock == "kernel")


# The terminal


@pytest.mark.parametrize("name", RUNS)
def test_the_text_is_aligned_and_fits(name: str):
    blocks = report.text(RUNS[name]).split("\n\n")
    for line in "\n".join(blocks).splitlines():
        assert len(line) <= 100
    widths = [len(row) for row in blocks[0].splitlines() if row.startswith("Delay p")]
    assert len(set(widths)) <= 2


def test_the_text_has_the_figures_and_the_verdict():
    text = report.text(RUN)
    assert text.splitlines()[0].split() == ["WebSocket", "SSE", "long-polling"]
    row = next(row for row in text.splitlines() if row.startswith("Delay p50"))
    assert row.split()[3:] == [f"{(RUN.of(lane)[1].sample.delays.percentile(50) or 0) / 1000:.3f}" for lane in RUN.lanes()]
    assert " ".join(judge(RUN).each[0].sentence.split()) in " ".join(text.split())


def test_the_text_of_several_networks_has_a_block_for_each():
    blocks = report.text(BIG).split("\n\n")
    assert [block.splitlines()[0] for block in blocks[:-1]] == list(BIG.plan.networks)


def test_many_servers_take_several_blocks_of_columns():
    run: Run = a_big_run(
        networks=("open",), subjects=tuple(f"http://10.0.0.{n}:8000" for n in range(8)), transports=("sse",), repeats=1
    )
    text = report.text(run)
    assert all(f"10.0.0.{n}:8000" in text for n in range(8))
    assert text.count("Delay p50") == 2
