"""The servers that are measured, each a program of its own with the same publisher in it; `tests/benchmarks/rows.py`
has the table of them.
"""
