"""Room: a channel and who is in it, under one name. What it can do the hub can do; readers follow `room.channels`."""

from __future__ import annotations

from typing import Any

from .attendance import LISTED
from .hub import Hub
from .position import Position
from .presence import PREFIX, Page
from .present import Present


class Room:
    """A channel with its members.

    Args:
        hub: where it is.
        channel: its name.

    Raises:
        Refusal: 4404, no such channel is allowed.
    """

    def __init__(self, hub: Hub, channel: str) -> None:
        self.channels = (channel, PREFIX + channel)  # what is said there, and who comes and goes
        for name in self.channels:
            hub.check(name)
        self.hub, self.channel = hub, channel

    async def publish(self, data: Any, *, key: str | None = None) -> str:
        """Publish `data` to all who read the room, and return the event's id; see `Hub.publish`."""
        return await self.hub.publish(self.channel, data, key=key)

    async def members(self, *, since: Position | None = None, after: str = "", limit: int = LISTED) -> Page:
        """Who is there, with the position at which that holds; see `Attendance.members`."""
        return await self.hub.presence.members(self.channel, since=since, after=after, limit=limit)

    def present(self, *, as_: str, data: Any = None) -> Present:
        """Be there under the name `as_`, for the length of an `async with` block.

        Raises:
            Refusal: on entering, it is refused for good; see `Attendance.present`.
            ConnectionFailedError: on entering, the broker was down for 30 s.
        """

        async def send(command: dict[str, Any]) -> float:
            seconds, said = command.get("for"), command.get("data")
            return await self.hub.presence.present(self.channel, as_, lease=command["lease"], data=said, seconds=seconds)

        return Present(send, {}, data)
