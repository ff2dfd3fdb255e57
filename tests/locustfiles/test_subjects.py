"""Subjects: found by name, by file and by URL, and what is told when there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from locustfiles.plan import TRANSPORTS
from locustfiles.subjects import BUILT_IN, Subject, SubjectError, load, subject

REPOSITORY = Path(__file__).parents[2]
KEPT = """
from locustfiles.subjects import Subject

class Reader: ...

SUBJECT = Subject(
    name="mine", what="my own server", command=("{python}", "{here}/server.py", "{port}", "{braces}"),
    readers={"sse": "kept.py:Reader", "websocket": "elsewhere:Reader"},
)
"""


@pytest.mark.parametrize("name", BUILT_IN)
def test_those_built_in_are_found_by_their_names(name: str):
    found = subject(name)
    assert found.name == name
    assert found.what
    assert found.transports
    assert found.argv("127.0.0.1", 8000)[0] == sys.executable
    assert any("8000" in part for part in found.argv("127.0.0.1", 8000))


def test_they_are_data_that_patches_nothing():
    code = (
        "import sys; from locustfiles.subjects import BUILT_IN, subject; [subject(name) for name in BUILT_IN]\n"
        "sys.exit(any(name in sys.modules for name in ('locust', 'gevent', 'socketio', 'starlette')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("socketio", "there is no subject 'socketio'; the nearest is python-socketio. A .py file or a URL may stand there too"),
        ("everywire:sse=5", "there is no subject 'everywire:sse=5'"),
        ("null:sse=slow", "'sse=slow' is nothing to plant; it is one of websocket, sse, longpoll, and microseconds: sse=300"),
        ("null:", "'' is nothing to plant"),
        ("zzz", f"there is no subject 'zzz'; there are {', '.join(BUILT_IN)}"),
        ("ftp://127.0.0.1", "'ftp://127.0.0.1' is not a URL like http://127.0.0.1:8000"),
        ("http://", "'http://' is not a URL"),
        ("no/such.py", "no/such.py: FileNotFoundError"),
    ],
)
def test_what_is_none_is_told(text: str, said: str):
    with pytest.raises(SubjectError, match=r".") as caught:
        subject(text)
    assert str(caught.value).startswith(said)


def test_a_delay_can_be_planted_in_the_null_subject():
    found = subject("null:longpoll=300,sse=20")
    assert found.name == "null:longpoll=300,sse=20"
    assert found.command[-4:] == ("--plant", "longpoll=300", "--plant", "sse=20")
    assert subject("null").command == found.command[:-4]


def test_a_url_is_one_that_runs_already():
    found = subject("http://127.0.0.1:8000")
    assert (found.url, found.mount, found.ready, found.command) == ("http://127.0.0.1:8000", "/live", "/live/negotiate", ())
    assert found.transports == (*TRANSPORTS, "negotiated")


def test_the_path_of_a_url_is_the_mount():
    found = subject("https://example.org/app/stream/")
    assert (found.url, found.mount, found.ready) == ("https://example.org", "/app/stream", "/app/stream/negotiate")


def test_a_file_has_one_of_its_own(tmp_path: Path):
    file = tmp_path / "kept.py"
    file.write_text(KEPT)
    found = subject(str(file))
    assert found.argv("127.0.0.1", 9) == [sys.executable, f"{tmp_path}/server.py", "9", "{braces}"]
    assert found.readers["websocket"] == "elsewhere:Reader"
    assert load(found.readers["sse"]).__name__ == "Reader"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1", "has no SUBJECT = Subject"),
        ("1 / 0", "ZeroDivisionError"),
        ("SUBJECT = 1", "has no SUBJECT"),
        ("raise SystemExit(0)", "SystemExit"),
        ("from locustfiles.subjects import Subject\nSUBJECT = Subject(name='x', what='', command='serve')", "no sense.*command"),
    ],
)
def test_a_file_without_one_is_told(tmp_path: Path, content: str, said: str):
    file = tmp_path / "other.py"
    file.write_text(content)
    with pytest.raises(SubjectError, match=said):
        subject(str(file))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("no.such:Reader", "cannot be loaded"),
        ("locustfiles.plan:Nothing", "no Nothing in locustfiles.plan"),
        ("Reader", "cannot be loaded"),
    ],
)
def test_a_reader_that_is_not_there_is_told(where: str, said: str):
    with pytest.raises(SubjectError, match=said):
        load(where)


def test_a_package_that_is_missing_is_told_with_what_installs_it():
    missing = Subject(name="x", what="", command=("x",), needs={"no_such_module": "no-such>=1", "sys": "there"})
    with pytest.raises(SubjectError, match=r"^x needs what is not installed. Install it with:  pip install 'no-such>=1'$"):
        missing.argv("127.0.0.1", 1)
