"""Subjects: the servers that can be compared, as data: how each is started, where it answers, and how it is read.

Pure data, found by name, by file or by URL; read by `compare`, which must not import Locust, and by Locust itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ..plan import NEGOTIATED, TRANSPORTS

BUILT_IN: Final[Mapping[str, str]] = {
    "everywire": "everywire",
    "null": "null",
    "python-socketio": "socketio",
    "sse-starlette": "sse_starlette",
}
"""Their names, and the modules of this package that hold them."""


class SubjectError(ValueError):
    """There is no such subject, or it cannot run here; the message says what to do about it."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A server to measure. It takes our publish commands at `POST <mount>/commands`, so that the publisher is one for all."""

    name: str
    what: str  # what it is, in one line
    command: tuple[str, ...] = ()  # starts it, with {python} {host} {port}, and {here}: the directory of its file; none: it runs
    url: str | None = None  # of one that runs already, without the mount
    mount: str = "/live"
    ready: str = "/live/negotiate"  # answers 200 when it serves
    transports: tuple[str, ...] = TRANSPORTS
    readers: dict[str, str] = {}  # transport: `module:Class` or `file.py:Class`, a `Reader`; without one, ours is used
    status: str | None = None  # where its counters are, as JSON
    needs: dict[str, str] = {}  # modules that must be there: what to install for them

    def argv(self, host: str, port: int) -> list[str]:
        """The command that serves on `host:port`. Raises: SubjectError, a package that it needs is not there."""
        self.check()
        values = {"{python}": sys.executable, "{host}": host, "{port}": str(port)}
        return [_filled(part, values) for part in self.command]

    def check(self) -> None:
        """Raises: SubjectError, a package that it needs is not there."""
        missing = [package for module, package in self.needs.items() if importlib.util.find_spec(module) is None]
        if missing:
            raise SubjectError(f"{self.name} needs what is not installed. Install it with:  pip install {shlex.join(missing)}")


def subject(text: str) -> Subject:
    """The subject of that name, in that `.py` file (as `SUBJECT`), or at that URL: an everywire that runs already, whose mount is
    the path, `/live` where there is none. `null:longpoll=300` is the null subject with a delay planted, in microseconds.

    Raises:
        SubjectError: there is none.
    """
    if "://" in text:
        return _running(text)
    if text.endswith(".py"):
        return _kept(Path(text))
    name, colon, more = text.partition(":")
    if name not in BUILT_IN or (colon and name != "null"):
        raise SubjectError(f"there is no subject {text!r}; {_nearest(text)}. A .py file or a URL may stand there too")
    found = importlib.import_module(f"{__name__}.{BUILT_IN[name]}").SUBJECT
    assert isinstance(found, Subject)  # noqa: S101 - ours
    return _planted(found, more.split(",")) if colon else found


def load(where: str) -> Any:
    """What `module:name` or `file.py:name` names. Raises: SubjectError, there is no such thing."""
    place, _, name = where.rpartition(":")
    try:
        names = _names(Path(place)) if place.endswith(".py") else vars(importlib.import_module(place))
    except (ImportError, ValueError) as error:
        raise SubjectError(f"{where!r} cannot be loaded: {error}") from error
    if name not in names:
        raise SubjectError(f"there is no {name} in {place}")
    return names[name]


def _planted(found: Subject, plants: Sequence[str]) -> Subject:
    """`null:longpoll=300`: the same server, which holds each message of a transport back for so many microseconds."""
    for each in plants:
        transport, _, us = each.partition("=")
        if transport not in found.transports or not us.isdecimal():
            raise SubjectError(
                f"{each!r} is nothing to plant; it is one of {', '.join(found.transports)}, and microseconds: sse=300"
            )
    words = [word for each in plants for word in ("--plant", each)]
    return msgspec.structs.replace(found, name=f"{found.name}:{','.join(plants)}", command=(*found.command, *words))


def _running(text: str) -> Subject:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        usable = False
    if not usable:
        raise SubjectError(f"{text!r} is not a URL like http://127.0.0.1:8000")
    mount = parts.path.rstrip("/") or "/live"
    return Subject(
        name=text,
        what="a server that runs already",
        url=f"{parts.scheme}://{parts.netloc}",
        mount=mount,
        ready=f"{mount}/negotiate",
        transports=(*TRANSPORTS, NEGOTIATED),
        status=f"{mount}/status?limit=0",
    )


def _kept(file: Path) -> Subject:
    """The `SUBJECT` of a file; what it names by `{here}` or `file.py:` lies beside it."""
    found = _names(file).get("SUBJECT")
    if not isinstance(found, Subject):
        raise SubjectError(f"{file} has no SUBJECT = Subject(…)")
    try:
        found = msgspec.convert(msgspec.to_builtins(found), Subject)
    except (msgspec.ValidationError, TypeError) as error:
        raise SubjectError(f"{file}: its SUBJECT makes no sense: {error}") from error
    here = file.resolve().parent
    return msgspec.structs.replace(
        found,
        command=tuple(_filled(part, {"{here}": str(here)}) for part in found.command),
        readers={name: str(here / where) if ".py:" in where else where for name, where in found.readers.items()},
    )


def _names(file: Path) -> dict[str, Any]:
    """What a Python file defines; it is run once. Raises: SubjectError, it is not there or fails."""
    name = f"everywire subject {file.resolve()}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None  # noqa: S101 - it ends with .py
        assert spec.loader is not None  # noqa: S101
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise SubjectError(f"{file}: {type(error).__name__}: {error}") from error
    return vars(sys.modules[name])


def _filled(part: str, values: Mapping[str, str]) -> str:
    """Not by `format`: commands may have braces of their own."""
    for place, value in values.items():
        part = part.replace(place, value)
    return part


def _nearest(text: str) -> str:
    near = get_close_matches(text, BUILT_IN, 1)
    return f"the nearest is {near[0]}" if near else f"there are {', '.join(BUILT_IN)}"
