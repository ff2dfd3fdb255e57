"""One ordered event stream over every wire that a network lets through.

The words, one per thing:

* **Event**: something published to a **channel**; has an **offset**, which grows strictly over the whole hub.
* **Epoch**: the name of one life of the log. **Position**: `epoch.offset`, "I have everything up to here".
* **Item**: anything sent down a wire: `hello event beat lost reply bye`. **Batch**: the items that go out together.
* **Log**: the kept events. **Feed**: what one reader reads; it has no queue. **Hub**: owns them, and who reads.
  **Group**: readers **in step** with the log, its **members**, who share a feed.
* **Edge**: where requests come in: the ASGI endpoints, or the **front**, on sockets of its own. **Admission**: what a
  request asks for, and whether it may. **Exchange**: what a connection of the front is busy with.
* **Broker**: where offsets come from. **Transport**: how batches are framed on one wire. **Command**: what a client
  sends up.

The Quart extension is `transports.quart.Live`, the client `transports.client.connect`, its blocking face
`transports.sync.connect`.
"""

from .errors import (
    Code,
    ConfigError,
    ConnectionFailedError,
    EventsLostError,
    EverywireError,
    MissingExtraError,
    NotEverywireError,
    QueueFullError,
    Refusal,
)
from .facts import Pace
from .hub import Hub
from .items import Event, Lost
from .ladder import LADDER
from .options import Options
from .position import Position
from .transport import Transport

__all__ = [
    "LADDER",
    "Code",
    "ConfigError",
    "ConnectionFailedError",
    "Event",
    "EventsLostError",
    "EverywireError",
    "Hub",
    "Lost",
    "MissingExtraError",
    "NotEverywireError",
    "Options",
    "Pace",
    "Position",
    "QueueFullError",
    "Refusal",
    "Transport",
]
