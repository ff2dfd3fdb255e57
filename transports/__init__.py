"""One ordered event stream over every wire that a network lets through.

The words, one per thing:

* **Event**: something published to a **channel**; has an **offset**, which grows strictly over the whole hub.
* **Epoch**: the name of one life of the log. **Position**: `epoch.offset`, "I have everything up to here".
* **Item**: anything sent down a wire: `hello event beat lost skipped reply bye`. **Batch**: the items that go out together.
* **Subscription**: what a reader asks for: names, **patterns** (`orders.*`), and for each a **policy**, how much of what piled up
  it wants. **Selection**: the channels that this comes to now.
* **Log**: the kept events. **Feed**: what one reader reads; it has no queue, but a **bell**, which is rung when there may be
  something to read. **Hub**: owns them, and who reads. **Group**: readers **in step** with the log, its **members**, who share a
  feed.
* **Edge**: where requests come in: the ASGI endpoints, or the **front**, on sockets of its own. **Admission**: what a
  request asks for, and whether it may. **Exchange**: what a connection of the front is busy with.
* **Identity**: who asks, as authentication found out, and for how long that holds. **Account**: what is known of one
  connection, from when it is let in until it has gone.
* **Broker**: where offsets come from; it hands **records** over to a **follower**, the hub of each process. **Transport**: how
  batches are framed. **Ladder**: all transports, best first; each is a **rung**. **Wire**: one connection over one of them, as a
  client sees it. **Command**: what a client sends up. **Schema**: what the events of a channel look like.
* **Worker**: a process that serves, kept by a **parent**. **Peers**: the hubs that share a broker. A process that **leaves**
  sends its readers to the others first: each gets a **word**, a `bye` with `stays`. **Control channels**, which begin with `$`,
  are the peers' own.
* **Presence**: who is there. A **lease** is taken, renewed, given up, or ends. Who holds one is **present**, a **member** of a
  channel (not of a group); from the first lease to the end of the last is one **visit**. Readers are told of **changes**. Leases
  and changes are folded into two **rosters**: who is present, and who was told to be.

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
from .request import Identity, Request
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
    "Identity",
    "Lost",
    "MissingExtraError",
    "NotEverywireError",
    "Options",
    "Pace",
    "Position",
    "QueueFullError",
    "Refusal",
    "Request",
    "Transport",
]
