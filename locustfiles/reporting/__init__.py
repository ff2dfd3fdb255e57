"""Reporting: a recorded run as text for the terminal and as one page that needs nothing else."""
