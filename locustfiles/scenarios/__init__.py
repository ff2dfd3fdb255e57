"""Scenarios: one question each, for `everywire compare` and for Locust itself (`locust -f …`).

Networks, faults and the search for a capacity are what `compare` does around a round. Locust alone plays the readers and the
publisher.
"""
