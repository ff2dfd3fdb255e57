"""The table of networks: tests, the lab, the comparison and the documentation all read this one.

A name may carry a number where the table has one (`latency-350ms`, `idle-cut-30s`), or leave it out, and names can be joined:
`latency-200ms+no-upgrade`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, NamedTuple

from ..errors import ConfigError
from .behaviours import (
    AskWho,
    Away,
    Behaviour,
    CutIdle,
    CutOld,
    CutRequest,
    CutUpgraded,
    Delay,
    Forget,
    Gzip,
    Hold,
    Http10,
    Narrow,
    OneByte,
    Portal,
    StripUpgrade,
    SwallowFrames,
)

_LADDER: Final = ("websocket", "sse", "longpoll", "")  # best first; nothing works last
_MOST: Final = 1_000_000
_SHORT: Final = 20  # seconds; a client holds a life below that against a transport
_NUMBER: Final = re.compile(r"(?<=-)\d{1,7}(?=[a-z]+$)")
_LOGIN: Final = "http://login.invalid/"  # a name that never resolves (RFC 2606)


@dataclass(frozen=True)
class Profile:
    """A network.

    Args:
        name: what it is called.
        story: the real thing it stands for.
        does: what happens to bytes in it.
        wins: the transport that should be chosen in it; empty if nothing can work.
        behaviours: what does it, from the client's side to the server's.
        tls: clients speak TLS to it, and its certificate is its own.
        forward: clients do not go to it for the server: it is the proxy that they are told to use.
        settles: seconds after which the choice should have been made, where that takes longer than to connect.
        http2: clients may speak HTTP/2 to it, over TLS. The behaviours come behind that, for each of its streams.
    """

    name: str
    story: str
    does: str
    wins: str = "websocket"
    behaviours: tuple[Behaviour, ...] = ()
    tls: bool = False
    forward: bool = False
    settles: float = 0.0
    http2: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tls", self.tls or self.http2)


_NO_UPGRADE: Final = StripUpgrade()

_TABLE: Final = (
    Profile("open", "A network as one wishes it.", "Everything passes as it comes."),
    Profile(
        "no-upgrade",
        "A reverse proxy without the two lines for WebSocket, or a filter that takes out what it does not know.",
        "Upgrade and Connection are taken out of requests.",
        "sse",
        (_NO_UPGRADE,),
    ),
    Profile(
        "upgrade-swallowed",
        "A firewall that allows the handshake, and inspects what follows until nothing is left of it.",
        "The 101 passes; no frame does, in either direction.",
        "sse",
        (SwallowFrames(),),
    ),
    Profile(
        "upgrade-cut",
        "A filter that lets a WebSocket open and kills it when it sees what it is.",
        "A WebSocket is reset 200 ms after its 101.",
        "sse",
        (CutUpgraded(0.2),),
    ),
    Profile(
        "buffering",
        "A virus scanner or an accelerating proxy that wants to see an answer whole.",
        "The head of an answer passes, the body when it has ended (or when 8 MiB of it have come). No upgrade.",
        "longpoll",
        (_NO_UPGRADE, Hold()),
    ),
    Profile(
        "buffering-4k",
        "A reverse proxy with its usual buffers.",
        "A body passes whenever 4,096 bytes of it have come. No upgrade.",
        "longpoll",
        (_NO_UPGRADE, Hold(4096)),
    ),
    Profile(
        "gzip-buffer",
        "A proxy that compresses everything, and writes when its buffer is full.",
        "Bodies are compressed, and pass when 8 KiB have gathered. No upgrade.",
        "longpoll",
        (_NO_UPGRADE, Gzip()),
    ),
    Profile(
        "idle-cut-5s",
        "A load balancer or a NAT with a short time-out, which at least says so.",
        "A connection on which nothing moves for 5 s is closed.",
        "websocket",
        (CutIdle(5),),
    ),
    Profile(
        "request-cut-10s",
        "A gateway that gives every request its time, as those in front of functions do.",
        "A connection is closed 10 s after a request on it began; a WebSocket is one.",
        "longpoll",
        (CutRequest(10),),
        settles=45,
    ),
    Profile(
        "reset-every-7s",
        "A middlebox that does not suffer connections to live.",
        "Each connection is reset when it is 7 s old.",
        "longpoll",
        (CutOld(7),),
        settles=40,
    ),
    Profile(
        "half-open",
        "A NAT that was restarted, or a phone that left the Wi-Fi: what was open is gone, and nobody is told.",
        "8 s after the first connection, nothing passes any more on those that are open. New ones work.",
        "websocket",
        (Forget(8),),
    ),
    Profile(
        "latency-200ms",
        "A server on another continent, or a satellite.",
        "Each piece travels 100 ms each way.",
        "websocket",
        (Delay(0.2),),
    ),
    Profile(
        "narrow-256kbit",
        "A mobile network at its edge.",
        "32,000 bytes a second pass, each way of each connection.",
        "websocket",
        (Narrow(32_000),),
    ),
    Profile(
        "flaky",
        "A train: tunnels, and jitter between them.",
        "Pieces are up to 150 ms late; after 6 s and then every 12 s all connections are reset, and none can be made for 1.5 s.",
        "websocket",
        (Delay(0.05, 0.15), Away(6, 1.5, 12)),
    ),
    Profile(
        "restart-3s",
        "The server is replaced, or its host is.",
        "5 s after the first connection all are reset, and none can be made for 3 s.",
        "websocket",
        (Away(5, 3),),
    ),
    Profile(
        "one-byte",
        "A path that cuts where it likes: no read holds what one write sent.",
        "Each byte is sent by itself.",
        "websocket",
        (OneByte(),),
    ),
    Profile(
        "http10",
        "A proxy of the last century; there are some.",
        "HTTP/1.0 both ways: no upgrade, no chunks, one request a connection.",
        "sse",
        (Http10(),),
    ),
    Profile(
        "captive-portal",
        "A hotel before one has logged in.",
        "Every request is answered with 200 and a page.",
        "",
        (Portal(),),
    ),
    Profile(
        "login-redirect",
        "A company gateway that sends everybody to its login page first.",
        "Every request is answered with 302.",
        "",
        (Portal(_LOGIN),),
    ),
    Profile(
        "proxy-407",
        "A company proxy that wants to know who you are.",
        "A forward proxy: requests without user and password are answered with 407.",
        "websocket",
        (AskWho(),),
        forward=True,
    ),
    Profile(
        "tls-inspection",
        "An inspecting proxy, with a certificate that only the company's devices trust.",
        "TLS ends here, with a certificate of the network's own. No upgrade.",
        "sse",
        (_NO_UPGRADE,),
        tls=True,
    ),
    Profile(
        "h2-edge",
        "A CDN or a load balancer: HTTP/2 to the browser, HTTP/1.1 to the server.",
        "TLS and HTTP/2 end here. Each stream has a connection of its own to the server, a WebSocket too.",
        "websocket",
        http2=True,
    ),
)

NETWORKS: Final[Mapping[str, Profile]] = MappingProxyType({profile.name: profile for profile in _TABLE})
"""Every named network."""


class _Numbered(NamedTuple):
    does: str
    behaviours: Callable[[int], tuple[Behaviour, ...]]
    lives: bool = False  # the number is the seconds that a connection lives


_NUMBERED: Final[Mapping[str, _Numbered]] = {
    "buffering-4k": _Numbered(
        "A body passes whenever {} KiB of it have come. No upgrade.", lambda kib: (_NO_UPGRADE, Hold(kib * 1024))
    ),
    "idle-cut-5s": _Numbered("A connection on which nothing moves for {} s is closed.", lambda seconds: (CutIdle(seconds),)),
    "request-cut-10s": _Numbered(
        "A connection is closed {} s after a request on it began; a WebSocket is one.",
        lambda seconds: (CutRequest(seconds),),
        True,
    ),
    "reset-every-7s": _Numbered("Each connection is reset when it is {} s old.", lambda seconds: (CutOld(seconds),), True),
    "latency-200ms": _Numbered("Each piece travels half of {} ms each way.", lambda ms: (Delay(ms / 1000),)),
    "narrow-256kbit": _Numbered("{} kbit a second pass, each way of each connection.", lambda kbit: (Narrow(kbit * 125),)),
    "restart-3s": _Numbered(
        "5 s after the first connection all are reset, and none can be made for {} s.", lambda seconds: (Away(5, seconds),)
    ),
}
"""Those that can be had with another number."""


def network(names: str) -> Profile:
    """The network of that name, or of those names, joined by `+`. Raises: ConfigError, there is none."""
    first, *others = parts = [_one(name.strip()) for name in names.split("+")]
    if any(each.forward for each in parts) and any(each.tls or each.http2 for each in parts):
        raise ConfigError(f"{names}: a forward proxy is told by its address, and speaks plain HTTP here")
    whole = first
    for other in others:
        whole = Profile(
            f"{whole.name}+{other.name}",
            f"{whole.story} {other.story}",
            f"{whole.does} {other.does}",
            max(whole.wins, other.wins, key=_LADDER.index),
            (*whole.behaviours, *other.behaviours),
            whole.tls or other.tls,
            whole.forward or other.forward,
            max(whole.settles, other.settles),
            whole.http2 or other.http2,
        )
    return whole


def _one(name: str) -> Profile:
    if (known := NETWORKS.get(name)) is not None:
        return known
    for usual, made in _NUMBERED.items():
        known, base = NETWORKS[usual], _NUMBER.sub("", usual)
        if name == base.rpartition("-")[0] and name not in NETWORKS:
            return known
        found = _NUMBER.search(name)
        if found is not None and _NUMBER.sub("", name) == base and 0 < (number := int(found[0])) <= _MOST:
            long = made.lives and number >= _SHORT
            wins, settles = ("websocket", 0.0) if long else (known.wins, known.settles)
            return Profile(name, known.story, made.does.format(number), wins, made.behaviours(number), settles=settles)
    near = get_close_matches(name, NETWORKS, 1)
    nearest = f"the nearest is {near[0]}, and " if near else ""
    raise ConfigError(f"there is no network {name!r}; {nearest}`everywire proxy --list` shows all")
