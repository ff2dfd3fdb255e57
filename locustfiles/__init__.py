"""The comparison toolkit: what does each wire cost, and how late do events arrive on it?

Reading order: `plan.py` (what is asked) and `scenarios/` (the questions), `samples.py` (what is recorded), `users.py` (readers as
Locust knows them), `rounds.py` (one measurement), `compare.py` (what is typed). Behind them are four packages, in the order in
which a run passes through them:

- `measuring/`: what runs in Locust's processes; `readers.py` first.
- `conducting/`: servers, networks and rounds in turns; `conductor.py` first.
- `judging/`: what the figures allow to be said; `verdict.py` first.
- `reporting/`: how it is shown; `report.py` first.

`subjects/` are the servers that can be compared, and the readers of those that speak otherwise than ours. Everywire's own server
imports nothing from here. Locust patches the standard library when it is imported, so only `users.py`, `negotiated.py`,
`rounds.py`, `crowd.py`, the scenarios, the readers and what `measuring/` does for them import it.

The words:

* **Lane**: what is compared, one transport of one **subject** (a server) through one **network**. **Round**: a lane, played once.
  **Repeat**: one round of each lane, in turns. **Run**: all rounds together, the file `run.json`.
* **Scenario**: a question, with the numbers that suit it. **Plan**: those that are played here and now. **Point**: which figure
  answers the question. **Figure**: a quantity of a round, by the name that `--slo` takes.
* **Fault**: something that is done while events flow. **Mark**: when it was done, and over. **Pause**: a reader got nothing for
  clearly too long. **Recovery**: how readers fared after a mark.
* **Sample**: a round as the readers saw it. **Station**: the readers of one Locust process, which answers for its part of the
  sample. **Slot**: the events that were due in one stretch of a round. **Look**: the server at one moment.
* **Step**: one try of a search for the **capacity**, the most readers that a lane bears.
* **Calibration**: the same at a server that does nothing. **Bias**: by how much the instrument favours one of two transports.
  **Credited**: a difference beyond the noise, the bias and what can be seen. **Doubt**: why a measurement says nothing; a
  **note** is one that does not void it.
"""
