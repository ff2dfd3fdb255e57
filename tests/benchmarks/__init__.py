"""How fast it is, beside others: `make bench`, or `python -m tests.benchmarks`.

A load client in C (`load.c`) reads from one subject at a time (`rows.py`), which publishes inside its own process on
a schedule (`subjects/publisher.py`). `measures.py` says what is measured, `bench.py` has the subjects take turns, and
`table.py` makes the table out of the results. `reference.c` is what one core could do, and shows that the load client is
not what is measured. See `docs/reference/benchmarks.md`.
"""
