"""Stage: which cores are whose, and how a subject and its readers are put on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .load import Load
from .program import Program, ProgramError
from .rows import Subject, node_program


class Stage(NamedTuple):
    """The compiled programs, by name, and the cores: the server's, and that of the load client and of what posts."""

    programs: dict[str, str]
    server_core: int | None
    client_core: int | None

    @contextmanager
    def playing(self, subject: Subject, *more: str) -> Iterator[Playing]:
        """Start a subject, with `more` arguments, and give it when it listens. Raises: ProgramError."""
        core = 0 if self.client_core is None else self.client_core
        program, *arguments = (each.format(core=core, **self.programs) for each in (*subject.argv, *more))
        argv = [(node_program() or program) if program == "node" else program, *arguments]
        with Program(argv, self.server_core) as program:
            yield Playing(self, subject, program)


class Playing:
    """A subject that listens.

    Args:
        stage: where it plays.
        subject: which one.
        program: its process, which has not said yet where it listens.
    """

    def __init__(self, stage: Stage, subject: Subject, program: Program) -> None:
        self._stage, self.subject, self.program = stage, subject, program
        said = program.hear(20.0)
        self.port: int = said["listening"]
        self._paths: dict[str, str] = said.get("paths") or {}
        program.root = said.get("server", program.root)

    def readers(self, wire: str) -> Load:
        """A load client that will read over `wire`; to be used as a context manager."""
        path = self._paths.get(wire, f"/{wire}")
        core = self._stage.client_core
        return Load(self._stage.programs["load"], self.port, path, wire, flags=self.subject.flags_for(wire), core=core)

    def publish(self, timeout: float = 120.0, **order: object) -> int:
        """Have it publish, and give how many events it has sent. Raises: ProgramError."""
        return int(self.program.ask(order, timeout)["sent"])


def cores() -> tuple[int | None, int | None]:
    """The core for the server and the one for the load client: the last two that this process may use.

    Raises:
        ProgramError: there is only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise ProgramError("a benchmark needs two cores, one for the server and one for the load client, and there is one")
    return allowed[-2], allowed[-1]
