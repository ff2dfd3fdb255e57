"""Rows: the subjects, one row each. What is not installed is named with what would install it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from .program import HERE

_NODE = HERE / "subjects" / "node"
_NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_PYTHON_EXTRA = "pip install -c constraints.txt -e '.[bench]'"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A server that is measured."""

    name: str
    title: str
    argv: tuple[str, ...]
    wires: tuple[str, ...] = ("ws", "sse", "poll", "wait")
    hello: bool = False  # a reader is open when its first message has come, not when it was answered
    flags: tuple[str, ...] = ()  # of the load client
    packages: tuple[str, ...] = ()  # what it is made of, for the list of versions; Python's, unless `node` or `nginx` runs it
    own: bool = False  # it is everywire

    def flags_for(self, wire: str) -> tuple[str, ...]:
        """What the load client has to be told."""
        return (*self.flags, *(("--hello",) if self.hello and wire in ("ws", "sse") else ()))

    def missing(self) -> str | None:
        """What has to be installed for it, as a command or a package; None if all is there."""
        if self.argv[0] == "node":
            if node_program() is None:
                return "Node.js"
            there = all((_NODE / "node_modules" / package).is_dir() for package in self.packages)
            return None if there else f"npm install --prefix {_NODE.relative_to(HERE.parent.parent)} --no-package-lock"
        if "nginx" in self.packages:
            there = _NCHAN.exists() and shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
            return None if there else "Debian's packages nginx and libnginx-mod-nchan"
        there = all(importlib.util.find_spec(package.replace("-", "_").replace("python_", "")) for package in self.packages)
        return None if there else _PYTHON_EXTRA

    def versions(self) -> dict[str, str]:
        """The version of each of its packages."""
        if self.argv[0] == "node":
            return {"node": _said("node", "--version").lstrip("v"), **{each: _node_version(each) for each in self.packages}}
        if "nginx" in self.packages:
            return {"nginx": _said("nginx", "-v").rpartition("/")[2], "nchan": _debian_version("libnginx-mod-nchan")}
        return {each: importlib.metadata.version(each) for each in self.packages}


def node_program() -> str | None:
    """Node.js: the one of the machine, or the one of the environment that runs this."""
    return shutil.which("node", path=f"{os.environ.get('PATH', '')}:{Path(sys.executable).parent}")


def _node_version(package: str) -> str:
    described = msgspec.json.decode((_NODE / "node_modules" / package / "package.json").read_bytes())
    return str(described["version"])


def _said(program: str, argument: str) -> str:
    found = node_program() if program == "node" else shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    done = subprocess.run([found or program, argument], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip()


def _debian_version(package: str) -> str:
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True, check=False)
    return done.stdout or "unknown"


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.benchmarks.subjects.{module}", *arguments)


def _node(script: str) -> tuple[str, ...]:
    return ("node", str(_NODE / f"{script}.js"))


ROWS: tuple[Subject, ...] = (
    Subject(
        name="everywire",
        title="everywire",
        argv=_python("everywire"),
        hello=True,
        packages=("quart", "hypercorn", "msgspec", "uvloop"),
        own=True,
    ),
    Subject(
        name="everywire-asyncio",
        title="everywire --loop asyncio",
        argv=_python("everywire", "--loop", "asyncio"),
        hello=True,
        packages=("quart", "hypercorn", "msgspec"),
        own=True,
    ),
    Subject(
        name="everywire-off",
        title="everywire --front off --loop asyncio",
        argv=_python("everywire", "--front", "off", "--loop", "asyncio"),
        hello=True,
        packages=("quart", "hypercorn", "msgspec"),
        own=True,
    ),
    Subject(
        name="everywire-uvicorn",
        title="everywire --server uvicorn --loop uvloop",
        argv=_python("everywire", "--front", "off", "--server", "uvicorn", "--loop", "uvloop"),
        hello=True,
        packages=("quart", "uvicorn", "msgspec", "uvloop"),
        own=True,
    ),
    Subject(
        name="everywire-granian",
        title="everywire --server granian --loop uvloop",
        argv=_python("everywire", "--front", "off", "--server", "granian", "--loop", "uvloop"),
        hello=True,
        packages=("quart", "granian", "msgspec", "uvloop"),
        own=True,
    ),
    Subject(
        name="everywire-workers",
        title="everywire, several workers",
        argv=_python("workers"),
        wires=("ws", "sse"),
        hello=True,
        packages=("quart", "hypercorn", "msgspec"),
        own=True,
    ),
    Subject(
        name="hypercorn", title="Hypercorn, plain ASGI", argv=_python("asgi", "hypercorn"), hello=True, packages=("hypercorn",)
    ),
    Subject(
        name="hypercorn-uvloop",
        title="Hypercorn on uvloop, plain ASGI",
        argv=_python("asgi", "hypercorn-uvloop"),
        hello=True,
        packages=("hypercorn", "uvloop"),
    ),
    Subject(
        name="uvicorn",
        title="uvicorn, plain ASGI",
        argv=_python("asgi", "uvicorn"),
        hello=True,
        packages=("uvicorn", "uvloop", "httptools", "websockets"),
    ),
    Subject(
        name="granian", title="Granian, plain ASGI", argv=_python("asgi", "granian"), hello=True, packages=("granian", "uvloop")
    ),
    Subject(name="aiohttp", title="aiohttp", argv=_python("aiohttp_app"), hello=True, packages=("aiohttp", "uvloop")),
    Subject(
        name="websockets",
        title="websockets",
        argv=_python("websockets_app"),
        hello=True,
        packages=("websockets", "uvloop"),
        wires=("ws",),
    ),
    Subject(name="picows", title="picows", argv=_python("picows_app"), packages=("picows", "uvloop"), wires=("ws",)),
    Subject(
        name="python-socketio",
        title="python-socketio on uvicorn",
        argv=_python("socketio_app"),
        packages=("python-socketio", "uvicorn", "uvloop"),
        wires=("ws",),
        flags=("--socketio",),
    ),
    Subject(
        name="sse-starlette",
        title="sse-starlette on uvicorn",
        argv=_python("sse_starlette_app"),
        hello=True,
        packages=("sse-starlette", "starlette", "uvicorn", "uvloop"),
        wires=("sse",),
    ),
    Subject(name="ws", title="ws, Node", argv=_node("ws"), packages=("ws",), wires=("ws",)),
    Subject(
        name="socket.io",
        title="Socket.IO, Node",
        argv=_node("socketio"),
        packages=("socket.io",),
        wires=("ws",),
        flags=("--socketio",),
    ),
    Subject(name="nchan", title="Nchan, nginx", argv=_python("nchan", "{reference}", "{core}"), packages=("nginx", "nchan")),
    Subject(name="c", title="C, one send per event", argv=("{reference}",)),
    Subject(name="c-batch", title="C, one send per turn", argv=("{reference}", "--batch"), wires=("ws", "sse")),
)
BY_NAME = {row.name: row for row in ROWS}
