"""Environment: what else may have decided the figures of a run: versions, the machine, and how it was set."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

_PACKAGES: Final = ("everywire", "quart", "hypercorn", "aiohttp", "locust", "gevent", "msgspec")
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def environment(packages: Iterable[str] = ()) -> dict[str, str]:
    """All of it. `packages`: what the servers that are compared need beyond everywire."""
    versions = {name: version for name in dict.fromkeys((*_PACKAGES, *packages)) if (version := _version(name))}
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(psutil.cpu_count() or 0),
        "governor": _read(_GOVERNOR) or "not told",
        "container": _container(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "load before": " ".join(f"{load:.2f}" for load in psutil.getloadavg()),
        **versions,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Its name, as Linux tells it."""
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _container() -> str:
    """Whether this runs in one, as far as can be told from inside; its share of the cores may be less than it sees."""
    marks = [("docker", Path("/.dockerenv").exists()), ("podman", Path("/run/.containerenv").exists())]
    marks += [(kind, kind in _read(Path("/proc/1/cgroup"))) for kind in ("docker", "kubepods", "lxc")]
    kind = next((kind for kind, met in marks if met), "")
    quota = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    share = f", {int(quota[0]) / int(quota[1]):g} cores" if len(quota) == 2 and quota[0].isdigit() else ""
    return f"{kind or 'none seen'}{share}"


def _read(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text("utf-8", "replace").strip()
    return ""
