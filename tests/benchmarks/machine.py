"""Machine: where a run was made, and whether anything else was running there."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

from .results import Machine

_LOOK = 0.5  # seconds
_QUIET = 0.05  # of the cores: what others may take before a machine is called busy


def describe() -> Machine:
    """This machine, now."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory=psutil.virtual_memory().total,
        kernel=platform.release(),
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )


def others() -> float:
    """The share of all cores that is taken now, by others and by the host of a virtual machine: 0 is quiet, 1 is full."""
    before = psutil.cpu_times()
    time.sleep(_LOOK)
    after = psutil.cpu_times()
    passed = sum(after) - sum(before)
    idle = after.idle - before.idle + getattr(after, "iowait", 0.0) - getattr(before, "iowait", 0.0)
    return max(0.0, 1 - idle / passed) if passed else 0.0


def stolen() -> float:
    """Seconds that the host of a virtual machine has taken from its cores since it was started; 0 where nobody counts them."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def unquiet() -> str | None:
    """Why what is measured now will not be worth much; None if the machine is quiet."""
    taken = others()
    if taken <= _QUIET:
        return None
    return f"others take {taken:.0%} of this machine's cores, the load of the last minute was {os.getloadavg()[0]:.2f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
