"""Scenarios: one question each, for `everywire compare` and for Locust itself (`locust -f …`)."""
