"""Status: what an operator is shown of one process: who is connected, where they read, who went last, and why; as JSON and as a
page. And who is an operator.

The page is plain HTML without a script. What clients had a say in is escaped by Jinja2, and the policy of the page forbids
everything but its own style.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import os
import time
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from .accounts import Account
from .errors import Code, Refusal
from .hub import Hub
from .journal import printable
from .origins import foreign_page
from .position import parse
from .request import Request, parse_count
from .transport import HEADERS

if TYPE_CHECKING:
    import jinja2

SHOWN: Final = 200  # connections, unless `limit` says otherwise
_SHOWN_MOST: Final = 2000
_POLICY: Final = b"content-security-policy"
_NAMES: Final = frozenset({"localhost", "localhost."})
# One of them says that somebody stands between: who asks is not who is connected.
_FORWARDED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-client-ip")


class Seen(msgspec.Struct):
    """One connection, of those that are open or went last."""

    connection: str
    transport: str
    who: str | None
    address: str
    since: float  # seconds since 1970
    seconds: float  # that it lasts, or lasted
    position: str
    behind: int | None  # events of all channels behind its position; None: in another life of the log, or it has gone
    items: int
    bytes: int
    commands: int
    why: str  # as the client says
    tried: str
    reason: str | None = None  # why it has gone


class Status(msgspec.Struct):
    """What is shown. The names `opened`, `why`, `verdicts` and `moved` are those of `Counts`."""

    process: int
    worker: int | None  # its number, if there are several
    ready: bool
    at: float  # seconds since 1970
    position: str  # of the log
    readers: int
    channels: int
    events: int
    bytes: int
    broker_up: bool
    opened: dict[str, int]
    why: dict[str, int]
    verdicts: dict[str, dict[str, int]]
    moved: dict[str, int]
    refused: dict[str, int]
    open: int  # connections; those beyond the limit are not shown
    connections: list[Seen]  # the oldest first
    closed: list[Seen]  # the last first


def status(hub: Hub, request: Request) -> Status:
    """What `request` is shown. Raises: Refusal 4400, garbage."""
    limit = parse_count(request.query.get("limit"), SHOWN, _SHOWN_MOST, "connections")
    now = hub.accounts.clock()
    log, counts = hub.log, hub.counts.as_dict()
    return Status(
        process=os.getpid(),
        worker=None if hub.board is None else hub.board.number,
        ready=hub.leaving is None,
        at=now,
        position=f"{log.epoch}.{log.head}",
        readers=hub.readers,
        channels=log.channels,
        events=len(log),
        bytes=log.bytes,
        broker_up=hub.broker_up,
        **counts,
        refused=dict(sorted(hub.figures.refused.items())),
        open=len(hub.accounts),
        connections=[_seen(each, hub, now) for each in islice(hub.accounts, limit)],
        closed=[_seen(each, hub, now) for each in islice(reversed(hub.accounts.closed), limit)],
    )


def _seen(account: Account, hub: Hub, now: float) -> Seen:
    items, size = account.sent()
    why, tried = account.saw
    return Seen(
        connection=account.name,
        transport=account.transport,
        who=None if account.who is None else printable(account.who),
        address=printable(account.address),
        since=account.opened,
        seconds=round((now if account.closed is None else account.closed) - account.opened, 3),
        position=account.position,
        behind=None if account.closed is not None else _behind(account.position, hub),
        items=items,
        bytes=size,
        commands=account.commands,
        why=printable(why),
        tried=printable(tried),
        reason=account.reason or None,
    )


def _behind(position: str, hub: Hub) -> int | None:
    with suppress(Refusal):
        place = parse(position)
        if place.epoch == hub.log.epoch:
            return max(0, hub.log.head - place.offset)
    return None


def check_observer(hub: Hub, request: Request, what: str, *, known: bool, version: str) -> None:
    """Whether who asks may see this: with the `observer_token`, or as `authorize` says of those who are known. Where nobody is
    known, from this machine itself, with nobody between.

    Args:
        hub: what is looked at.
        request: of which has been found out who asks.
        what: `status` or `metrics`. `authorize` is asked for the action `observe` and the channel `$status` or `$metrics`: no
            channel has such a name.
        known: whether it is asked who asks.
        version: of HTTP.

    Raises:
        Refusal: 4403; 4401, who it is was not found out.
    """
    if hub.options.observer_token and _same(request.token or "", hub.options.observer_token):
        return
    foreign_page(request.headers, (), secure=request.secure)  # a page in the operator's browser comes from this machine, too
    if not known:
        if version != "1.0" and is_local(request):  # 1.0 is what proxies speak that say nothing of themselves
            return
        words = "is for the operator: ask from the machine itself, with no proxy between, or show the observer_token"
        raise Refusal(Code.FORBIDDEN, f"{what} {words}")
    who = request.who
    if who is None or hub.authorize is None or not hub.may(who, "observe", f"${what}"):
        raise Refusal(Code.FORBIDDEN, f"{what} is for whom authorize lets observe it, or who shows the observer_token")


def _same(shown: str, token: str) -> bool:
    return hmac.compare_digest(shown.encode(), token.encode())


def is_local(request: Request) -> bool:
    """Whether the client is on this machine and asked for it by such a name, as far as can be seen: a page whose name was made
    to mean this machine has another, and most proxies say that they are there.
    """
    if any(name in request.headers for name in _FORWARDED):
        return False
    with suppress(ValueError):
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        return _loopback(request.address) and (name in _NAMES or _loopback(name))
    return False


def _loopback(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return found.is_loopback if mapped is None else mapped.is_loopback


def page(shown: Status) -> tuple[str, list[tuple[bytes, bytes]]]:
    """The page, and the headers that belong to it, with those of every answer."""
    template, policy = _template()
    text = template.render(shown=shown, clock=_clock, size=_size, lasted=_lasted)
    usual = [header for header in HEADERS if header[0] != _POLICY]  # of which there is to be one
    return text, [*usual, (_POLICY, policy.encode()), (b"referrer-policy", b"no-referrer")]


@cache
def _template() -> tuple[jinja2.Template, str]:
    import jinja2

    environment = jinja2.Environment(loader=jinja2.PackageLoader(__package__), autoescape=True, undefined=jinja2.StrictUndefined)
    assert environment.loader is not None  # noqa: S101 - just said
    source, _, _ = environment.loader.get_source(environment, "status.html")
    style = source.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    return environment.get_template("status.html"), policy


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _lasted(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _size(number: Any) -> str:
    size = float(number)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
