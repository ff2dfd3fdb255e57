"""The guards, each of which can be taken away by its name, and nothing else with it.

An attack that fails is only worth something if it succeeds as soon as the guard is gone that is said to stop it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from itsdangerous import URLSafeSerializer

from tests.attacks import stage
from transports import Hub, Identity, Request, asgi, position
from transports import admission as admissions
from transports.accounts import Account
from transports.admission import Admission
from transports.deflate import inflate
from transports.front import connection, framing, heads
from transports.origins import Page
from transports.rights import Rights
from transports.tickets import Tickets


class Guard(NamedTuple):
    """What stops an attack.

    `code`: the file, and the name in it. `removed` is called for a context in which the guard is not there.
    """

    code: str
    name: str
    removed: Callable[[], AbstractContextManager[Any]]


GUARDS: dict[str, Guard] = {}
_DAY = 86_400
_MANY = 10**6


def guard(name: str, code: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Name a guard and what takes it away: a function that gives one context or several."""
    file, _, inside = code.partition(": ")

    def named(removes: Callable[[], Any]) -> Callable[[], Any]:
        @contextmanager
        def removed() -> Iterator[None]:
            with ExitStack() as stack:
                found = removes()
                for each in found if isinstance(found, list) else [found]:
                    stack.enter_context(each)
                yield

        assert name not in GUARDS
        GUARDS[name] = Guard(file, inside, removed)
        return removes

    return named


@contextmanager
def without(*names: str) -> Iterator[None]:
    """A world in which these guards are not there."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(GUARDS[name].removed())
        yield


def setting(name: str, **unbounded: Any) -> None:
    """A guard that is a setting, or several, and is taken away by settings that bound nothing."""
    guard(name, f"transports/options.py: {', '.join(unbounded)}")(lambda: patch.dict(stage.UNBOUNDED, unbounded))


# --- whose page asks


@guard("origins are named", "transports/origins.py: foreign_page")
def _() -> Any:
    def any_origin(headers: Mapping[str, str], allowed: object, *, secure: bool = False) -> Page | None:
        return Page(headers["origin"], True) if "origin" in headers else real({**headers, "origin": "http://x", "host": "x"}, ())

    real = admissions.foreign_page
    return patch.object(admissions, "foreign_page", any_origin)


@guard("pages that name no origin are foreign too", "transports/origins.py: _ELSEWHERE")
def _() -> Any:
    return patch("transports.origins._ELSEWHERE", frozenset())


@guard("a page that came without TLS is foreign to TLS", "transports/origins.py: _is_ours")
def _() -> Any:
    real = admissions.foreign_page
    return patch.object(admissions, "foreign_page", lambda headers, allowed, *, secure=False: real(headers, allowed))


@guard("one origin in a request", "transports/request.py: ONCE")
def _() -> Any:
    return patch("transports.request.ONCE", frozenset())


@guard("names of the server", "transports/origins.py: check_host")
def _() -> Any:
    return patch.object(admissions, "check_host", lambda headers, hosts: None)


@guard("POST is JSON", "transports/request.py: Request.check_json")
def _() -> Any:
    return patch.object(Request, "check_json", lambda self: None)


@guard("a star lets in no cookies", "transports/request.py: Request.forget_user")
def _() -> Any:
    return patch.object(Request, "forget_user", lambda self: None)


@guard("a star is no name", "transports/origins.py: shown_to")
def _() -> Any:
    real = admissions.shown_to
    return patch.object(admissions, "shown_to", lambda page: real(page and Page(page.origin, True)))


@guard("operators are asked for", "transports/status.py: check_observer")
def _() -> Any:
    return patch.object(asgi, "check_observer", lambda *_, **__: None)


# --- what answers say


def _without_header(unwanted: bytes) -> list[Any]:
    """Answers without a header; those whose heads have been made already are made anew."""
    modules = ["transports.asgi", "transports.front.connection", "transports.front.framing"]
    headers = tuple((name, value) for name, value in connection.HEADERS if name != unwanted)
    usual = patch.dict(asgi._answer.__kwdefaults__, usual=headers)
    return [*(patch(f"{module}.HEADERS", headers) for module in modules), usual, _remade()]


@contextmanager
def _remade() -> Iterator[None]:
    framing.whole.cache_clear()
    yield
    framing.whole.cache_clear()


@guard("no-store", "transports/transport.py: HEADERS")
def _() -> Any:
    return _without_header(b"cache-control")


@guard("nosniff", "transports/transport.py: HEADERS")
def _() -> Any:
    return _without_header(b"x-content-type-options")


@guard("resource policy", "transports/transport.py: HEADERS")
def _() -> Any:
    return _without_header(b"cross-origin-resource-policy")


@guard("no frames", "transports/transport.py: HEADERS")
def _() -> Any:
    return _without_header(b"content-security-policy")


# --- who may what


@guard("authorize is asked about reading", "transports/hub.py: Hub.may")
def _() -> Any:
    real = Hub.may
    return patch.object(Hub, "may", lambda self, who, action, channel: action == "subscribe" or real(self, who, action, channel))


@guard("authorize is asked about publishing", "transports/hub.py: Hub.may")
def _() -> Any:
    real = Hub.may
    return patch.object(Hub, "may", lambda self, who, action, channel: action == "publish" or real(self, who, action, channel))


@guard("answers are shared where all may read the same", "transports/admission.py: Admission.recall")
def _() -> Any:
    real = Admission.poll

    def poll(self: Admission, transport: Any, request: Request, question: str = "") -> Any:
        found = real(self, transport, request, question)
        if hasattr(found, "items"):
            self.hub.log.remember(question, found)
        return found

    return [
        patch.object(Admission, "poll", poll),
        patch.object(Admission, "recall", lambda self, question: self.hub.log.recall(question)),
    ]


@guard("observing is for operators", "transports/status.py: check_observer")
def _() -> Any:
    return patch.object(asgi, "check_observer", lambda *asked, **how: None)


# --- what is shown


@guard("a ticket is good once", "transports/tickets.py: Tickets._remember")
def _() -> Any:
    return patch.object(Tickets, "_remember", lambda self, ticket, now: None)


@guard("a ticket is good once in all processes", "transports/tickets.py: Tickets._claim")
def _() -> Any:
    async def claim(self: Tickets, number: str, identity: Identity) -> Identity:
        return identity

    return patch.object(Tickets, "_claim", claim)


@guard("a ticket is good for 30 s", "transports/tickets.py: LIFE")
def _() -> Any:
    return patch("transports.tickets.LIFE", _DAY)


@guard("a ticket is for one transport", "transports/tickets.py: Tickets.redeem")
def _() -> Any:
    real = Tickets.redeem
    return patch.object(Tickets, "redeem", lambda self, shown, path: real(self, shown, self._read(shown).path))


@guard("tickets are signed", "transports/tickets.py: Tickets._read")
def _() -> Any:
    return patch.object(URLSafeSerializer, "loads", lambda self, shown: self.load_payload(shown.rpartition(".")[0].encode()))


@guard("tickets are signed as tickets", "transports/tickets.py: _SALT")
def _() -> Any:
    return patch("transports.tickets._SALT", "cookie-session")


@guard("credentials end", "transports/accounts.py: Account.hold_until")
def _() -> Any:
    return patch.object(Account, "hold_until", lambda self, expires: None)


@guard("revoke ends what is there", "transports/rights.py: Rights._end")
def _() -> Any:
    return patch.object(Rights, "_end", lambda self, who: None)


@guard("renewal asks about each channel", "transports/hub.py: Hub.become")
def _() -> Any:
    return patch.object(Hub, "become", lambda self, feed, who: self._turn(feed, feed.asked._replace(who=who), feed.selection))


@guard("present is who asks", "transports/commands.py: _name")
def _() -> Any:
    return patch("transports.commands._name", lambda who, wanted: wanted)


setting("authorize is asked again", recheck=_DAY)


# --- bytes


@guard("a body has one length", "transports/front/heads.py: _length")
def _() -> Any:
    def either(headers: Mapping[str, str]) -> int | None:
        return real({name: value for name, value in headers.items() if name != "content-length"})

    real = heads._length
    return patch.object(heads, "_length", either)


@guard("a header ends where its line ends", "transports/front/heads.py: check_lines")
def _() -> Any:
    return patch.object(heads, "check_lines", lambda data: None)


@guard("a position is one", "transports/position.py: _FORM")
def _() -> Any:
    return [patch("transports.position._FORM", re.compile(r"(?s)(.*)\.(0|[1-9][0-9]{0,15})")), _parsed_anew()]


@contextmanager
def _parsed_anew() -> Iterator[None]:
    position.parse.cache_clear()
    yield
    position.parse.cache_clear()


@guard("a channel has a name", "transports/names.py: _CHANNEL")
def _() -> Any:
    return patch("transports.names._CHANNEL", re.compile(r"(?s).*"))


@guard("what is inflated has an end", "transports/deflate.py: inflate")
def _() -> Any:
    def unbounded(data: bytes, most: int) -> bytes | None:
        return inflate(data, 1 << 30)

    return [patch("transports.front.readers.inflate", unbounded), patch("transports.extension.inflate", unbounded)]


@guard("HTTP/2 is calm", "transports/http2.py: _CALM")
def _() -> Any:
    return [patch("transports.http2._CALM", _MANY), patch("transports.http2._CALMING", _MANY)]


# --- loads
setting("the size of a message", message_bytes=4 << 20)
setting("the time for a head or a body", body_timeout=_DAY)
setting("the time for TLS", handshake_timeout=_DAY)
setting("the time for a first command", first_command_timeout=_DAY)
setting("the time to take what was sent", send_timeout=_DAY)
setting("connections of one address", connections_per_address=_MANY)
setting("connections of one who", connections_per_who=_MANY)
setting("connections of all", connections_per_process=_MANY)
setting("commands of one connection", commands_per_connection=_MANY)
setting("commands of one who", commands_per_who=_MANY)
setting("commands of one address", commands_per_address=_MANY)
setting("addresses are what our proxies say", trusted_hops=1)
setting("channels of one reader", channels_per_reader=_MANY)
setting("channels of all", channels_max=_MANY)
