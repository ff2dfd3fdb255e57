"""The comparison toolkit: what does each wire cost, and how late do events arrive on it?

Reading order: `plan.py` (what is asked) and `scenarios/` (the questions), `samples.py` (what is recorded), `users.py` (readers as
Locust knows them), `rounds.py` (one measurement), `compare.py` (what is typed). Behind them are four packages, in the order in
which a run passes through them:

- `measuring/`: what runs in Locust's processes; `readers.py` first.
- `conducting/`: servers, networks and rounds in turns; `conductor.py` first.
- `judging/`: what the figures allow to be said; `verdict.py` first.
- `reporting/`: how it is shown; `report.py` first.

`subjects/` are the servers that can be compared. Nothing here is imported by a server. Locust patches the standard library when
it is imported, so only `users.py`, `negotiated.py`, `rounds.py`, `crowd.py`, the scenarios and what `measuring/` does for them
import it.
"""
