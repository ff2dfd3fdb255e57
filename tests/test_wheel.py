"""What is packed is enough: with the wheel, no checkout and no network one does what the README and the first tutorial say."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.docs.learner import Learner, line
from tests.documents import ROOT, block_with, blocks, built, steps
from tests.ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorials" / "first-live-event.md"
URL = "http://127.0.0.1:8000"

# A network of its own, whose loopback is up, until its input ends.
ALONE = """
import fcntl, socket, struct, sys
UP, SET = 1, 0x8914  # of linux/if.h and linux/sockios.h
with socket.socket() as asked:
    fcntl.ioctl(asked, SET, struct.pack("16sh", b"lo", UP))
print("alone", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheel` makes of this checkout, in a copy of it, where the documentation has been built."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("transports", "quart_app", "locustfiles"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "built_docs"))
    for name in ("pyproject.toml", "Makefile", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, checkout)
    shutil.copytree(built(tmp_path_factory), checkout / "docs" / "_build" / "html")
    make = ["make", "--old-file", "docs", f"BIN={Path(sys.executable).parent}", "wheel"]
    subprocess.run(make, cwd=checkout, check=True)
    (made,) = (checkout / "dist").iterdir()
    return made


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """The names of all that has to be installed for something with these extras."""
    for each in importlib.metadata.requires(name) or []:
        wanted = Requirement(each)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            one = wanted.name, frozenset(wanted.extras)
            if one not in seen:
                seen.add(one)
                yield wanted.name
                yield from needed(*one, seen)


@pytest.fixture(scope="module")
def newcomer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learner]:
    """Somebody with the wheel in a directory, who has installed it as it is written, and whose network is gone."""
    one = Learner(TUTORIAL, tmp_path_factory.mktemp("newcomer"), p8000=str(free_port()))
    one.environment |= {"PYTHONPATH": "", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    shutil.copy(wheel, one.directory)
    one.type("python3 -m venv")
    # What pip would fetch is there already: just what the wheel asks for, and nothing of this checkout.
    (packages,) = (one.directory / ".venv").glob("lib/python*/site-packages")
    fetched = tmp_path_factory.mktemp("fetched")
    for name in needed("everywire", frozenset({"client", "uvloop"}), set()):
        files = importlib.metadata.distribution(name)
        for entry in {file.parts[0] for file in files.files} - {"..", "__pycache__"}:
            if not (fetched / entry).exists():
                (fetched / entry).symlink_to(files.locate_file(entry))
    (packages / "fetched.pth").write_text(f"{fetched}\n")
    alone = ["unshare", "--net", sys.executable, "-c", ALONE]
    with subprocess.Popen(alone, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as network:
        if network.stdout.readline() == "alone\n":  # we have the right to do that
            one.within = ["nsenter", f"--net=/proc/{network.pid}/ns/net"]
        one.type(".venv/bin/pip install")
        one.environment["PATH"] = f"{one.directory}/.venv/bin:{os.environ['PATH']}"  # what the tutorial exports
        yield one


def printed(one: Learner, command: str) -> str:
    """What it prints until it ends."""
    with one.typed(one.here(command)) as running:
        return running.communicate()[0]


def test_it_has_all_of_the_documentation_but_what_sphinx_keeps_for_itself(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    html, folder = built(tmp_path_factory), "quart_app/built_docs/"
    packed = {name.removeprefix(folder) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(folder)}
    there = {str(file.relative_to(html)) for file in html.rglob("*") if file.is_file()}
    assert packed == {name for name in there if not name.startswith(".")}


def test_what_is_imported_is_what_was_packed(newcomer: Learner) -> None:
    places = "import transports, quart_app, locustfiles as each; print(*(x.__file__ for x in (transports, quart_app, each)))"
    found = printed(newcomer, f"python -c '{places}'").split()
    assert len(found) == 3
    assert all(Path(file).is_relative_to(newcomer.directory / ".venv") for file in found)
    assert printed(newcomer, "everywire --version").endswith(f"{importlib.metadata.version('everywire')}\n")


def test_the_lab_has_its_pages_and_an_event_is_followed_published_and_found_again(newcomer: Learner) -> None:
    one, tail = newcomer, f"everywire tail {URL}/live"
    with one.start(".venv/bin/everywire lab", "everywire lab", one.here("everywire lab")) as lab:
        line(lab, "everywire lab at")
        for path in ("lab/", "docs/", "docs/tutorials/first-live-event.html", "live/client.js"):
            assert printed(one, f"curl -o got -w '%{{http_code}}' {URL}/{path}") == "200", path
        events = [json.loads(each) for each in one.type(f"{tail} vitals --count 2").splitlines()]
        assert [each["channel"] for each in events] == ["vitals"] * 2
        assert one.type("echo") == "published 1 to chat\n"
        found = one.type(f"{tail} chat --since k3f9ab.0", "k3f9ab", events[0]["id"].partition(".")[0])
        assert json.loads(found)["data"] == {"text": "hello"}
        lab.send_signal(signal.SIGINT)
        assert lab.wait(30) == 0


def test_an_app_of_ones_own_delivers(newcomer: Learner) -> None:
    for name, words in {"clock.py": "live.run(", "client.py": "async for event in stream:\n            print"}.items():
        (newcomer.directory / name).write_text(newcomer.here(block_with(README, "python", words).text))
    with newcomer.typed("exec python clock.py") as server:
        line(server, "serving")
        with newcomer.typed("exec python client.py") as client:
            line(client, "over websocket from")
            line(client, "'now': ")
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


def test_the_readme_has_the_same_typed() -> None:
    typed = {page: [command for block in blocks(page, "console") for command, _ in steps(block)] for page in (README, TUTORIAL)}
    ours = [command for command in typed[TUTORIAL] if command.startswith(("python3 ", ".venv/bin/"))]
    assert len(ours) == 3
    assert set(ours) <= set(typed[README])
