"""The lab's page in a real browser: four lanes, their networks, what passes, all without a mouse and in two languages."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from functools import partial
from statistics import median_low
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, Page, Response, Route, expect

from tests.browser.conftest import Server, holds, moved, watch
from tests.ports import free_port

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LANES = ["websocket", "sse", "longpoll", "auto"]
FAULTS = ("lost", "doubled", "disordered")
MOST = 150_000  # bytes, unpacked, of all that the page loads, the client's among them
MOST_TRAVELS = 100_000  # bytes of that and all experiments, as they travel
STRETCH = 15  # seconds

DELIVERED = "n => [...document.querySelectorAll('[data-figure=delivered]')].every(e => +e.textContent.replace(/\\D/g, '') >= n)"
# By HTTP status: the name of a number, and what a German reads.
REFUSALS = {
    400: ("bad_command", "Das versteht das Labor nicht."),
    403: ("forbidden", "Das nimmt das Labor nur von seinen eigenen Seiten an."),
    500: ("internal", "Das ging schief. Warum, steht im Terminal, in dem das Labor läuft."),
    503: ("draining", "Etwas ging schief. Was, steht in der Konsole des Browsers."),
}
UNDER_THE_GLASS = """() => [...document.querySelectorAll(".pane mark")].map(e => e.textContent.match(/"id":"([^"]+)"/)[1])"""
ON_TOP = "lane => +document.querySelector(`#glass-${lane} .cost`).textContent.match(/([\\d,]+) %/)[1].replaceAll(',', '')"
FOCUSED = """() => {
    const e = document.activeElement;
    const shown = e.parentElement.matches(".chips label") ? e.nextElementSibling : e;
    return [e.id || e.dataset.server || e.value || e.name || e.className || e.textContent, getComputedStyle(shown).outlineStyle];
}"""
# From now on: what is said aloud, and how each lane stands.
LISTEN = """() => {
    globalThis.aloud = [];
    globalThis.stood = {};
    const live = "[role=status], [role=alert], [role=log], output, [aria-live]";
    const heard = ({ target }) => (target.closest ? target : target.parentElement)?.closest(live);
    const note = (all) => aloud.push(...all.map(heard).filter(Boolean).map((place) => place.textContent));
    new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
    for (const { dataset: { lane } } of document.querySelectorAll(".lane")) {
        const states = stood[document.querySelector(`.chips .${lane}`).textContent] = [];
        const changed = ([{ target }]) => states.at(-1) === target.dataset.state || states.push(target.dataset.state);
        new MutationObserver(changed).observe(document.querySelector(`.lane.${lane}`), { attributeFilter: ["data-state"] });
    }
}"""
TOLD = """() => {
    const found = {};
    for (const [, who, what] of aloud.join(" ").matchAll(/([^:.]+): ([^.]+)[.]/g)) {
        for (const name of who.trim().split(", ")) (found[name] ??= []).push(...what.split(", then "));
    }
    return found;
}"""
OVER = f"""() => {{
    const told = ({TOLD})();
    const back = ([name, states]) => states.length > 1 && states.at(-1) === "open" && told[name]?.at(-1) === "live";
    return Object.entries(stood).every(back) && told.Server?.at(-1) === "running";
}}"""
# Times between two frames, in ms.
FRAMES = """async (seconds) => {
    const gaps = [];
    await new Promise((done) => {
        let before = performance.now();
        const end = before + 1000 * seconds;
        requestAnimationFrame(function frame(now) {
            gaps.push(now - before);
            before = now;
            now < end ? requestAnimationFrame(frame) : done();
        });
    });
    return gaps;
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab() -> AsyncIterator[Server]:
    lab = Server(free_port(), "lab")
    try:
        await lab.start()
        yield lab
    finally:
        await lab.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, lab: Server) -> AsyncIterator[Page]:
    """The page, with all lanes open on open networks. A script error or a breach of its security policy fails the test."""
    page = await browser.new_page(viewport={"width": 1366, "height": 900})
    faults = listened(page)
    await page.goto(f"{lab.url}/lab/?lang=en")
    await all_open(page)
    yield page
    await ask(page, "network", {"lanes": "all"})
    await page.request.post(f"{origin(page)}/lab/server", data={"do": "start"})  # whoever failed leaves it running for the next
    assert faults == []


def listened(page: Page) -> list[str]:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda entry: faults.append(entry.text) if "Content Security Policy" in entry.text else None)
    return faults


async def all_open(page: Page) -> None:
    await expect(page.locator(".lane[data-state=open]")).to_have_count(4)


def origin(page: Page) -> str:
    url = urlsplit(page.url)
    return f"{url.scheme}://{url.netloc}"


async def refuse(route: Route, status: int, body: dict[str, object]) -> None:
    await route.fulfill(status=status, json=body)


async def ask(page: Page, what: str, body: dict[str, object]) -> None:
    answer = await page.request.post(f"{origin(page)}/lab/{what}", data=body)
    assert answer.ok, await answer.text()


def lane_of(page: Page, lane: str) -> Locator:
    return page.locator(f".lane[data-lane={lane}]")


async def figure(page: Page, lane: str, name: str) -> str:
    return await lane_of(page, lane).locator(f"[data-figure={name}]").inner_text()


async def breaches(page: Page) -> list[str]:
    """What axe has to say against the page, best practices included."""
    results = await Axe().run(page)
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in results.response["violations"]]


async def test_four_lanes_deliver_the_same_and_say_what_it_takes(page: Page) -> None:
    await holds(page, DELIVERED, 10)
    for lane in LANES:
        assert [await figure(page, lane, name) for name in FAULTS] == ["0", "0", "0"]
        await expect(lane_of(page, lane).locator(".sentence")).to_contain_text("Live over")
    await expect(lane_of(page, "auto").locator("[data-figure=transport]")).to_have_text("WebSocket")
    await expect(page.locator("#same-verdict")).to_have_text("Every lane delivered the same.")
    await expect(page.locator("#same-count")).to_contain_text(re.compile(r"^\d+ events compared, 0 missing\.$"))
    assert int(await figure(page, "websocket", "requests")) == 1
    assert int(await figure(page, "longpoll", "requests")) >= 10  # a request for each event


async def test_one_event_is_seen_on_all_wires_and_its_cost_is_counted(page: Page) -> None:
    await holds(page, DELIVERED, 5)
    await holds(page, "() => document.querySelectorAll('.pane mark').length === 4")
    ids = await page.evaluate(UNDER_THE_GLASS)
    assert len(set(ids)) == 1
    await expect(page.locator("#glass-title")).to_contain_text(ids[0].split(".")[0])
    await expect(page.locator("#glass-websocket .framing")).to_contain_text("opcode text · FIN · not masked")
    await expect(page.locator("#glass-sse .framing")).to_contain_text("size line")
    await expect(page.locator("#glass-longpoll summary")).to_have_text(
        [re.compile("^Head of the request, "), re.compile("^Head of the answer, ")]
    )
    on_top = [await page.evaluate(ON_TOP, lane) for lane in LANES[:3]]
    assert on_top[0] < on_top[1] < on_top[2]  # a frame's head, a chunk and a block, a whole exchange


async def test_a_line_that_is_picked_stays_under_the_glass(page: Page) -> None:
    await holds(page, DELIVERED, 5)
    row = page.locator(".records[data-lane=sse] button", has_text="chunk").last
    await row.hover()  # holds the list
    await row.click()
    title = await page.locator("#glass-title").inner_text()
    await expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    before = int(await figure(page, "sse", "delivered"))
    await holds(page, DELIVERED, before + 5)
    assert await page.locator("#glass-title").inner_text() == title
    assert await row.get_attribute("aria-pressed") == "true"
    await page.locator("#follow").click()
    await expect(page.locator("#glass-title")).not_to_have_text(title)


async def test_under_the_glass_are_the_bytes_of_the_framing_too_and_how_a_stream_began(page: Page) -> None:
    await holds(page, DELIVERED, 5)
    await holds(page, "() => document.querySelectorAll('.pane mark').length === 4")
    await expect(page.locator("#glass-websocket .octets dt")).to_have_text(["81", "7e", re.compile("^00 [0-9a-f]{2}$")])
    await expect(page.locator("#glass-sse .frames")).to_have_text([re.compile(r"^[0-9a-f]{2}\\r↵\n$"), "\\r↵\n"])
    began = page.locator("#glass-websocket summary")
    await expect(began).to_have_text(
        [re.compile("^This stream began with a request, "), re.compile("^and with the head of an answer, ")]
    )
    await began.last.click()
    await expect(page.locator("#glass-websocket details pre").last).to_contain_text("HTTP/1.1 101")

    await holds(page, "() => document.querySelectorAll('.records[data-lane=websocket] .record').length === 10")
    await page.locator("[data-back=websocket]").click()
    rows = page.locator(".records[data-lane=websocket] .record")
    await expect(rows.last).to_contain_text("opened")  # the first that passed, of which no line was left
    assert await rows.count() > 10
    await ask(page, "cut", {"lanes": ["auto"]})
    await page.locator("[data-back=auto]").click()
    await page.evaluate("""async () => {
        const rows = () => [...document.querySelectorAll(".records[data-lane=auto] .record")];
        const up = () => rows().find(({ record: { up, kind } }) => up && kind === "frame");
        while (!up()) {
            await new Promise((done) => setTimeout(done, 200));
            for (const turn of [1, 2]) document.querySelector("[data-back=auto]").click();
        }
        up().click();
    }""")
    octets = page.locator("#glass-auto .octets")
    await expect(octets.locator("dt").last).to_have_text(re.compile("^([0-9a-f]{2} ?){4}$"))
    await expect(octets).to_contain_text("the key that its sender mixed into the payload")
    await page.locator("[data-back=websocket]").click()
    await expect(rows).to_have_count(10)


async def test_bytes_that_go_by_themselves_and_bodies_that_are_packed_are_seen_to(page: Page) -> None:
    await ask(page, "network", {"lanes": ["sse"], "network": "one-byte"})
    await ask(page, "network", {"lanes": ["longpoll"], "network": "gzip-buffer"})
    await holds(page, "() => /chunk [0-9a-f]+ ×1\\d\\d/.test(document.querySelector('.records[data-lane=sse]').textContent)")
    await expect(page.locator("#glass-sse .framing")).to_contain_text(re.compile(r"in 1\d\d writes, a byte each"))
    await expect(page.locator("#glass-longpoll .cost")).to_contain_text("Packed with gzip")
    await expect(page.locator("#glass-longpoll mark")).to_contain_text('"type":"event"')
    await page.locator(".records[data-lane=sse] button", has_text="#").first.hover()
    await page.locator(".records[data-lane=sse] button", has_text="#").first.click()
    await expect(page.locator("#glass-sse .older")).to_have_count(0)
    await ask(page, "network", {"lanes": ["sse"], "network": "latency-200ms"})
    await expect(page.locator("#glass-sse .older")).to_have_text("Passed before the network here became: latency-200ms.")


async def test_a_network_without_upgrades_leaves_the_negotiator_on_sse_and_it_says_why(page: Page) -> None:
    for lane in LANES[:3]:
        await page.locator(f"#network-form [name=lane][value={lane}]").uncheck()
    await page.locator("#network-form [name=network]").select_option("no-upgrade")
    await expect(page.locator("#does")).to_contain_text("Upgrade and Connection are taken out")
    await expect(lane_of(page, "auto").locator("[data-figure=network]")).to_have_text("no-upgrade")
    await expect(lane_of(page, "sse").locator("[data-figure=network]")).to_have_text("open")
    await page.locator("#cut-now").click()
    await expect(lane_of(page, "auto").locator(".sentence")).to_contain_text("Live over SSE")
    await expect(page.locator("#timeline-list")).to_contain_text(
        re.compile(r"WebSocket was tried in the race and failed after .+: could not be opened\.")
    )
    assert [await figure(page, "auto", name) for name in FAULTS] == ["0", "0", "0"]
    await page.locator("#network-form [name=lane][value=sse]").check()
    await expect(page.locator("#differ")).to_have_text("They differ; shown is SSE.")
    await page.locator("#calm").click()
    await expect(lane_of(page, "auto").locator("[data-figure=network]")).to_have_text("open")


async def test_it_is_said_what_the_settings_the_cuts_and_the_servers_end_do_to_packets(page: Page) -> None:
    form = page.locator("#network-form")
    for name, value, said in (("delay", 400, "400 ms"), ("jitter", 200, "200 ms"), ("rate", 1, "8 kbit/s")):
        await form.locator(f"[name={name}]").fill(str(value))
        await expect(form.locator(f"[name={name}]")).to_have_attribute("aria-valuetext", said)
    await expect(page.locator("#does")).to_have_text("")  # not everything passes as it comes
    for said in ("held for 200 ms in each direction", "up to 200 ms longer", "1.0 kB a second", "at most 50 bytes"):
        await expect(page.locator("#held")).to_contain_text(said)
    await form.locator("[name=network]").select_option("one-byte")
    await expect(page.locator("#does")).to_have_text("Each byte is sent by itself.")
    await expect(page.locator("#held")).to_contain_text("held for 200 ms")
    for how, said in (("close", "a FIN behind what was written"), ("forget", "thrown away"), ("reset", "an RST at once")):
        await form.locator("[name=how]").select_option(how)
        await expect(page.locator("#how-does")).to_contain_text(said)
    for said in ("SIGTERM", "SIGKILL", "502"):
        await expect(page.get_by_text(said)).to_be_visible()


async def test_networks_of_which_a_lane_is_none_are_told_of_with_what_plays_them(page: Page) -> None:
    for name in ("proxy-407", "tls-inspection", "h2-edge"):
        await expect(page.locator(f"#network-form option[value={name}]")).to_be_disabled()
    await page.get_by_text("Networks that cannot be set on a lane").click()
    command = f"everywire proxy --upstream :{urlsplit(page.url).port} --network tls-inspection --ca ca.pem"
    await expect(page.locator("#outside")).to_contain_text(command)


async def test_who_logs_in_leaves_the_portal(page: Page) -> None:
    log_in = page.get_by_role("button", name="Log in")
    await expect(log_in).to_be_hidden()
    await page.locator("#network-form [name=network]").select_option("captive-portal")
    await expect(page.locator("#wins")).to_have_text("Nothing works here until somebody logs in.")
    await expect(lane_of(page, "sse").locator("[data-figure=network]")).to_have_text("captive-portal")
    await log_in.click()
    await expect(page.locator("#network-form [name=network]")).to_be_focused()
    await expect(lane_of(page, "sse").locator("[data-figure=network]")).to_have_text("open")


async def test_who_walks_through_the_networks_by_keyboard_asks_for_the_last_one_only(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if request.url.endswith("/network") else None)
    await page.locator("#network-form [name=network]").focus()
    for _ in range(4):
        await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")  # at once, and not when the keys rest
    await expect(lane_of(page, "sse").locator("[data-figure=network]")).to_have_text("buffering")
    await page.locator("#network-form [name=delay]").focus()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Tab")
    await expect(lane_of(page, "sse").locator("[data-figure=network]")).to_have_text("buffering +100 ms")
    assert [json.loads(body)["network"] for body in asked[:1]] == ["buffering"]
    assert len(asked) == 2


@pytest.mark.parametrize("lane", LANES)
async def test_a_lane_that_was_cut_goes_on_and_nothing_is_missing(page: Page, lane: str) -> None:
    await holds(page, DELIVERED, 2)
    opened = "lane => document.querySelector(`.records[data-lane=${lane}]`).textContent.includes('closed')"
    await page.get_by_role("button", name="Cut", exact=False).nth(LANES.index(lane)).click()
    await holds(page, opened, lane)
    await all_open(page)
    await holds(page, DELIVERED, int(await figure(page, lane, "delivered")) + 5)
    assert [await figure(page, lane, name) for name in FAULTS] == ["0", "0", "0"]
    await expect(page.locator("#same")).to_have_attribute("data-verdict", "same")


async def test_a_lane_whose_frames_were_swallowed_has_lost_nothing_when_they_pass_again(page: Page) -> None:
    await holds(page, DELIVERED, 2)
    await ask(page, "network", {"lanes": ["websocket"], "network": "upgrade-swallowed"})
    await ask(page, "cut", {"lanes": ["websocket"]})
    swallowed = "() => document.querySelectorAll('.records[data-lane=websocket] .lost').length >= 5"
    await holds(page, swallowed)  # a connection has opened, and what comes on it is gone
    await page.locator(".records[data-lane=websocket] .lost", has_text="#").first.hover()
    await page.locator(".records[data-lane=websocket] .lost", has_text="#").first.click()
    await expect(page.locator("#glass-websocket .framing")).to_contain_text("swallowed · opcode text")
    await expect(page.locator("#glass-websocket .cost")).to_contain_text(re.compile("^[0-9]+ B of event, [0-9]+ B around it: "))
    await page.locator("#follow").click()
    await page.mouse.move(0, 0)
    await page.locator("#calm").click()
    await holds(page, DELIVERED, int(await figure(page, "sse", "delivered")) + 3)
    await expect(page.locator("#same")).to_have_attribute("data-verdict", "same")
    await expect(page.locator("#same-count")).to_contain_text(" 0 missing")


async def test_without_a_network_every_lane_says_so_and_goes_on_when_it_is_back(page: Page) -> None:
    await holds(page, DELIVERED, 2)
    await page.context.set_offline(True)
    assert (await page.request.post(f"{origin(page)}/lab/cut", data={"lanes": "all"})).ok  # which is not of the page
    for lane in LANES:
        await expect(lane_of(page, lane)).to_have_attribute("data-state", "offline")
        await expect(lane_of(page, lane).locator(".sentence")).to_contain_text("This device is offline")
    await page.context.set_offline(False)
    await all_open(page)
    await holds(page, DELIVERED, int(await figure(page, "sse", "delivered")) + 5)
    await expect(page.locator("#same")).to_have_attribute("data-verdict", "same")
    for lane in LANES:
        assert [await figure(page, lane, name) for name in FAULTS] == ["0", "0", "0"]


async def test_a_server_that_was_killed_is_gone_until_it_is_started(page: Page) -> None:
    await holds(page, DELIVERED, 2)
    await page.get_by_role("button", name="Kill").click()
    await expect(page.locator("#server-state")).to_contain_text("Stopped")
    for lane in LANES:
        await expect(lane_of(page, lane)).to_have_attribute("data-state", "reconnecting")
    await expect(page.locator("#publisher-state")).to_contain_text("The server is away")
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.locator("#server-state")).to_contain_text("Running")
    await all_open(page)
    for lane in LANES:  # a new life of the log: what was there is declared as lost
        await expect(lane_of(page, lane).locator("[data-figure=lost]")).not_to_have_text("0")
        assert [await figure(page, lane, name) for name in FAULTS[1:]] == ["0", "0"]
    assert await breaches(page) == []  # with losses on show
    compared = int((await page.locator("#same-count").inner_text() or "0").split()[0].replace(",", ""))
    await holds(page, "n => parseInt(document.querySelector('#same-count').textContent.replaceAll(',', '')) >= n", compared + 3)
    await expect(page.locator("#same")).to_have_attribute("data-verdict", "same")  # what was declared lost is not missing


async def test_only_how_a_lane_or_the_server_stands_is_said_aloud(page: Page) -> None:
    await holds(page, DELIVERED, 2)
    await expect(page.locator("#aloud")).to_contain_text("Automatic")  # how all began
    await page.evaluate(LISTEN)
    await page.get_by_role("button", name="Restart").click()
    await holds(page, OVER)
    aloud, stood, told = [await page.evaluate(each) for each in ("aloud", "stood", TOLD)]
    changes = {name: [{"open": "live"}.get(state, state) for state in states] for name, states in stood.items()}
    assert {name: set(told[name]) for name in changes} == {name: set(states) for name, states in changes.items()}
    assert told["Server"][-2:] == ["starting", "running"]  # that it was stopped may have been too short to be told
    assert len(aloud) <= 3 + sum(map(len, changes.values()))  # at the most one for each change
    assert not re.search(r"\d", " ".join(aloud))


async def test_a_lane_that_is_behind_is_named_and_what_it_is_refused_with(page: Page) -> None:
    await holds(page, DELIVERED, 2)
    await ask(page, "network", {"lanes": ["websocket"], "network": "http10"})
    await ask(page, "cut", {"lanes": ["websocket"]})
    said = lane_of(page, "websocket").locator(".sentence")
    await expect(said).to_contain_text("Answered with “426 Upgrade Required”: the lab’s record says so, a browser tells no page.")
    await expect(lane_of(page, "websocket").locator("[data-figure=transport]")).to_have_text("–")
    await expect(page.locator("#same")).to_have_attribute("data-verdict", "behind")
    await expect(page.locator("#same-behind")).to_have_text(re.compile(r"^Behind: WebSocket \(not connected, \d+ events\)\.$"))
    assert await breaches(page) == []
    await page.locator("#calm").click()
    await all_open(page)
    await expect(page.locator("#same")).to_have_attribute("data-verdict", "same")
    await expect(page.locator("#same-behind")).to_have_text("")


async def test_nobody_has_to_wait_until_a_lane_tries_again(browser: Browser, lab: Server) -> None:
    page = await browser.new_page()
    await page.add_init_script("Math.random = () => 0.999")  # each pause as long as it may be
    await page.goto(f"{lab.url}/lab/?lang=en")
    await all_open(page)
    await expect(page.locator("#now")).to_have_attribute("aria-disabled", "true")
    await ask(page, "server", {"do": "kill"})
    try:
        said = "document.querySelector('.lane.longpoll .sentence').textContent"
        await holds(page, f"() => parseFloat({said}.match(/in ([\\d.]+) s/)?.[1]) >= 4")
        await expect(page.locator("#now")).to_have_attribute("aria-disabled", "false")
        now = await page.evaluate(f"document.querySelector('#now').click(), {said}")
        assert now.endswith("trying again in 0.1 s.")
    finally:
        await ask(page, "server", {"do": "start"})


async def test_what_is_tried_again_and_again_is_told_once(page: Page) -> None:
    told = page.locator("#timeline-list li")
    await holds(page, DELIVERED, 2)
    await ask(page, "network", {"lanes": ["auto"], "network": "captive-portal"})
    await ask(page, "cut", {"lanes": ["auto"]})
    failed = "SSE was tried in the race and failed after"
    await expect(told.filter(has_text=failed)).to_have_text(re.compile(r"a login page answered\. \([3-9] times in "))
    await expect(told.filter(has_text="The connection is gone")).to_have_count(1)
    await expect(told.filter(has_text="Live over WebSocket, the first choice.")).to_have_count(1)
    await expect(told.filter(has_text="What lies between is now: captive-portal.")).to_have_count(1)
    await expect(page.locator("#timeline-next")).to_contain_text(re.compile(r"^Nothing works: all are tried again in \d+ s\.$"))


async def test_what_is_not_tried_is_told_with_the_reason_and_the_time(page: Page) -> None:
    told = page.locator("#timeline-list li")
    await expect(page.locator("#timeline-next")).to_have_text("Nothing better is left to try.")
    await ask(page, "network", {"lanes": ["auto"], "network": "gzip-buffer"})
    await ask(page, "cut", {"lanes": ["auto"]})
    await expect(told.filter(has_text="Live over long-polling, until something better works.")).to_have_count(1)
    held = re.compile(r"SSE is not tried again before \d\d:\d\d:\d\d: what it brings is held back on the way\.$")
    await expect(told.filter(has_text=held)).to_have_count(1)
    lost = re.compile(r"WebSocket is not tried again before [\d:]+: could not be opened\.$")
    await expect(told.filter(has_text=lost)).to_have_count(1)
    await ask(page, "network", {"lanes": ["auto"], "network": "upgrade-swallowed"})
    await expect(told.filter(has_text="What lies between is now: upgrade-swallowed. Nobody tells Automatic")).to_have_count(1)
    await expect(page.locator("#timeline-next")).to_have_text(re.compile(r"^Next: .*SSE is (being tried|tried in \d+ s)"))


async def test_whatever_stands_in_an_event_is_shown_as_text(page: Page) -> None:
    await holds(page, DELIVERED, 1)
    hostile = "<img src=x onerror=globalThis.hijacked=1><script>globalThis.hijacked=1</script>"
    said = [{"n": hostile}, hostile, {"n": {"toString": hostile}}, {"__proto__": {"hijacked": 1}, "n": 1}, [[hostile]]]
    commands = [{"do": "publish", "ref": n, "channel": "lab", "data": data} for n, data in enumerate(said)]
    await ask(page, "publisher", {"running": False})  # so that it stays on show
    answer = await page.request.post(f"{origin(page)}/live/commands", data=commands)
    assert all(reply["ok"] for reply in await answer.json())
    row = page.locator(".records[data-lane=sse] button", has_text="#?").first
    await row.hover()  # holds the list
    await row.click()
    await expect(page.locator("#glass-sse pre").first).to_contain_text("<img src=x onerror=globalThis.hijacked=1><script>")
    await ask(page, "publisher", {"running": True})
    await holds(page, DELIVERED, int(await figure(page, "sse", "delivered")) + 2)
    assert await page.locator("main img, main script").count() == 0
    assert not await page.evaluate("globalThis.hijacked ?? ({}).hijacked ?? false")


async def test_what_the_page_may_do_is_little(page: Page) -> None:
    headers = (await page.request.get(page.url)).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in headers["content-security-policy"]
    assert "*" not in headers["content-security-policy"]
    for path in ("", "static/page.js", "look/look.css"):
        assert (await page.request.get(f"{origin(page)}/lab/{path}")).headers["x-content-type-options"] == "nosniff"


async def test_the_publisher_does_as_it_is_told(page: Page) -> None:
    await page.get_by_label("Bytes of an event").fill("200")
    await page.get_by_label("Bytes of an event").press("Enter")
    await expect(page.locator("#publisher-state")).to_contain_text("1.0 kB of data")
    await page.get_by_label("Publish", exact=True).uncheck()
    await expect(page.locator("#publisher-state")).to_have_text("Resting.")
    await page.get_by_label("Publish", exact=True).check()
    await page.get_by_label("Events a second").fill("9000")
    await page.get_by_label("Events a second").press("Enter")
    await expect(page.locator("#publisher-note")).to_have_text("Events a second: from 0.1 to 500.")
    await page.get_by_label("Events a second").fill("5")
    await page.get_by_label("Bytes of an event").fill("30000")
    await page.get_by_label("At once").fill("200")
    await page.get_by_label("At once").press("Enter")
    await expect(page.locator("#publisher-note")).to_contain_text("too much at once")
    await ask(page, "publisher", {"rate": 5, "size": 64, "burst": 1, "running": True})


async def test_pause_stops_the_display_and_not_the_streams(page: Page) -> None:
    await holds(page, DELIVERED, 2)
    polls = "performance.getEntriesByType('resource').filter(e => e.name.includes('longpoll') && e.name.includes('/poll')).length"
    await page.evaluate("performance.setResourceTimingBufferSize(10000)")
    await page.get_by_role("button", name="Pause display").click()
    await watch(page, ".bench")
    asked = await page.evaluate(polls)
    await holds(page, f"n => {polls} >= n + 3", asked)  # answers came meanwhile
    await lane_of(page, "auto").locator(".cut").click()
    await ask(page, "network", {"lanes": ["sse"], "network": "latency-200ms"})  # as somebody at another page would
    asked = await page.evaluate(polls)
    await holds(page, f"n => {polls} >= n + 3", asked)
    assert await moved(page) == []
    await page.get_by_label("What lies between").select_option("one-byte")  # what one does oneself shows
    await expect(page.locator("#story")).to_contain_text("A path that cuts where it likes")
    await expect(page.locator("#calm")).to_have_attribute("aria-disabled", "false")
    before = int(await figure(page, "longpoll", "delivered"))
    await page.get_by_role("button", name="Resume display").click()
    await holds(page, DELIVERED, before + 3)
    await expect(lane_of(page, "sse").locator("[data-figure=network]")).to_have_text("one-byte")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1366])
async def test_nothing_stands_in_the_way_of_anybody(page: Page, scheme: str, width: int) -> None:
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await page.set_viewport_size({"width": width, "height": 800})
    await holds(page, "() => document.querySelectorAll('.pane mark').length === 4")
    assert await breaches(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_everything_can_be_reached_and_used_by_keyboard(page: Page) -> None:
    await holds(page, "() => document.querySelectorAll('.record').length >= 12")
    walk = []
    for _ in range(90):
        await page.keyboard.press("Tab")
        name, outline = await page.evaluate(FOCUSED)
        walk.append(name)
        if outline != "solid":  # a busy browser may be late
            await holds(page, f"() => ({FOCUSED})()[1] === 'solid'")
        if name == "timeline-list":
            break
    assert walk[0] == "skip"
    buttons = {"pause", "anew", "now", "cut-now", "calm", "restart", "stop", "kill", "start", "follow"}
    assert {*buttons, *LANES, "timeline-list"} <= set(walk)
    assert sum(name.startswith("record ") for name in walk) == 4  # one stop for each list; the arrows go on within

    first = page.locator(".records[data-lane=sse] button").first
    await first.focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator(".records[data-lane=sse] button").nth(1)).to_be_focused()
    await expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")


async def test_german_for_who_reads_german(browser: Browser, lab: Server) -> None:
    context = await browser.new_context(locale="de-DE")
    page = await context.new_page()
    faults = listened(page)
    await page.goto(f"{lab.url}/lab/")
    await all_open(page)
    await holds(page, DELIVERED, 2)
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await expect(lane_of(page, "sse").locator(".sentence")).to_have_text("Live über SSE.")
    await expect(page.locator("#story")).to_have_text("Ein Netz, wie man es sich wünscht.")
    await expect(page.locator("#timeline-list")).to_contain_text("WebSocket wurde im Wettlauf versucht und funktioniert")
    await expect(page.get_by_role("button", name="Anzeige anhalten")).to_be_visible()
    assert await breaches(page) == []

    await page.locator("#network-form [name=network]").select_option("no-upgrade")
    await expect(lane_of(page, "auto").locator("[data-figure=network]")).to_have_text("kein Upgrade")
    await expect(page.locator("#network-form [name=network] option[value=no-upgrade]")).to_have_text("kein Upgrade (no-upgrade)")
    await page.locator("#calm").click()
    await expect(page.locator("#calm")).to_have_attribute("aria-disabled", "true")
    await page.get_by_label("Ereignisse je Sekunde").fill("9000")
    await page.get_by_label("Ereignisse je Sekunde").press("Enter")
    await expect(page.locator("#publisher-note")).to_have_text("Ereignisse je Sekunde: von 0,1 bis 500.")
    for status, said in REFUSALS.items():
        body = {"code": 4000 + status, "name": said[0], "reason": "in English", "retry": None}
        await page.route("**/lab/cut", partial(refuse, status=status, body=body))
        await page.locator("#cut-now").click()
        await expect(page.locator("#network-note")).to_have_text(said[1])
    await page.route("**/lab/cut", lambda route: route.abort())
    await page.locator("#cut-now").click()
    await expect(page.locator("#network-note")).to_have_text("Das Labor antwortet nicht. Läuft es noch?")
    await page.get_by_role("link", name="English").click()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    assert faults == []


@pytest.mark.parametrize("language", ["en", "de"])
async def test_the_page_is_light_and_asks_nobody_else(browser: Browser, lab: Server, language: str) -> None:
    page = await browser.new_page()
    answers: list[Response] = []
    asked: list[str] = []
    page.on("response", lambda answer: answers.append(answer))
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    await page.goto(f"{lab.url}/lab/?lang={language}")
    await all_open(page)
    await holds(page, DELIVERED, 2)
    alone = await sizes(answers)
    links = page.locator(".experiment-list a")
    for at in range(await links.count()):  # all that a class does, and what plays it
        await links.nth(at).click()
        title = await links.nth(at).inner_text()
        await expect(page.locator("#experiment").get_by_role("heading", name=title, exact=True)).to_be_visible()
    await page.evaluate("import('/lab/static/experiments/bench.js').then(() => null)")
    whole = await sizes(answers)
    names = {url.removeprefix(f"{lab.url}/lab/static/") for url in whole}
    assert sum(name.startswith("words/experiments/") and name.endswith(f"/{language}.json") for name in names) == 13
    assert {"page.js", "experiments/wires.js"} <= names
    assert sum(unpacked for unpacked, _ in alone.values()) <= MOST, json.dumps(alone, indent=1)
    assert sum(travels for _, travels in whole.values()) <= MOST_TRAVELS, json.dumps(whole, indent=1)
    assert all(travels < unpacked for url, (unpacked, travels) in whole.items() if "/static/" in url and unpacked > 1000)
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(lab.url).netloc}


async def sizes(answers: list[Response]) -> dict[str, tuple[int, int]]:
    """Of what a page is made of: URL -> bytes unpacked, bytes as they travel."""
    kinds = ("document", "stylesheet", "script", "image", "font")
    loaded = [each for each in answers if each.ok and (each.request.resource_type in kinds or "/static/" in each.url)]
    return {each.url: (len(await each.body()), (await each.request.sizes())["responseBodySize"]) for each in loaded}


@pytest.mark.alone
async def test_eighty_events_a_second_drop_no_frame(page: Page, browser: Browser) -> None:
    await ask(page, "publisher", {"rate": 20, "size": 64, "burst": 1, "running": True})
    await holds(page, DELIVERED, 40)
    fast = await usually_dropped(page, 60)
    empty = await browser.new_page()
    most = await usually_dropped(empty, 20) if fast else 0  # what this machine drops of a page that does nothing
    await empty.evaluate("setInterval(() => { const end = performance.now() + 70; while (performance.now() < end); }, 1500)")
    slow = await usually_dropped(empty, STRETCH)  # though some of its seconds have all frames
    await empty.close()
    await ask(page, "publisher", {"rate": 5})
    assert fast <= most < slow, (fast, most, slow)


async def usually_dropped(page: Page, most: int) -> int:
    """Frames that are missing in the middle one of `STRETCH` seconds in a row, where they were the fewest within `most` seconds.

    What else the machine does comes and goes: there is a stretch in most of whose seconds it does little. A page that is too slow
    draws the same in each.
    """
    await page.bring_to_front()
    seconds: list[int] = []
    least = sys.maxsize
    while least and len(seconds) < most:
        seconds.append(dropped(await page.evaluate(FRAMES, 1)))
        if len(seconds) >= STRETCH:
            least = min(least, median_low(seconds[-STRETCH:]))
    return least


def dropped(gaps: list[float]) -> int:
    """How many frames of 60 Hz are missing between those that were so many ms apart."""
    return sum(max(0, int(gap * 60 / 1000 + 0.1) - 1) for gap in gaps)
