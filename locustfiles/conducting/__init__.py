"""Conducting: servers, networks and Locust, started, told what to do, watched and ended; lanes in turns."""
