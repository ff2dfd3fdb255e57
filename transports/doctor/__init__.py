"""The doctor: what stands between here and a server, what it does to each transport, and the lines that mend it.

Probes look and write down (`probes.py`, over the wires of the client); everything behind that is a function of what was
written down: `rows.py` and `findings.py` judge it, `servers.py` recognises who answered, `mends.py` has the lines.
"""

from .examination import examine
from .findings import Finding, Report, report
from .mends import Mend
from .observations import Observations
from .rows import Cell, Row
from .servers import Server

__all__ = ["Cell", "Finding", "Mend", "Observations", "Report", "Row", "Server", "examine", "report"]
