"""null: a server that does nothing but pass on what it gets. What is measured at it is the instrument's own."""

from __future__ import annotations

from . import Subject

SUBJECT = Subject(
    name="null",
    what="writes one ready-made message to every reader at once: no log, no work",
    command=("{python}", "-m", "locustfiles.subjects.null_server", "--host", "{host}", "--port", "{port}"),
)
