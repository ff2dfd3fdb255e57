"""Judging: what a recorded run allows to be said. Pure: neither clock nor chance nor sockets."""
