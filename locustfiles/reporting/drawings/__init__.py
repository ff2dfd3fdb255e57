"""Drawings: what the page shows of a run, a file for each section: its picture in coordinates, and the same figures as a table.

Each function takes a run and returns None when there is nothing of the kind in it. Pictures of several networks stand beside each
other on the same scales; where several servers are compared, each has its own, because colours and dashes are for transports.
"""
