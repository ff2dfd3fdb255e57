"""The comparison toolkit: what does each wire cost, and how late do events arrive on it?

Reading order: `plan.py` (what is asked), `samples.py` (what is recorded), `readers.py` (how a wire is read), `users.py` (the same for
Locust), `rounds.py` (one measurement), `compare.py` (what is typed), `planning.py` (what that means), `conductor.py` (many rounds, taken
in turns), `stage.py` (the processes), `verdict.py` (what they allow to be said), `report.py` (how it is shown).

Nothing here is imported by a server, and only `users.py`, `rounds.py` and the scenarios import Locust, which patches the standard
library.
"""
