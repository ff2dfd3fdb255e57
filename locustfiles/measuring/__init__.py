"""Measuring: what runs in Locust's processes during a round. Readers on sockets of their own, the publisher, and the stations
that make samples of them.
"""
