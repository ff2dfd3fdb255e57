"""Live: the Quart extension. The only file that knows Quart.

    app = Quart(__name__)
    live = Live(app, channels=["clock"])     # mounts /live
    await live.publish("clock", {"now": time.time()})

The endpoints are wrapped around `app.asgi_app` as plain ASGI, so a stream costs neither a request context nor
Quart's queues. Everything else goes to Quart as before.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Any, TypeVar, overload
from urllib.parse import urlencode

import quart
from quart import Quart
from werkzeug.datastructures import Headers

from .admission import Authenticate
from .asgi import Endpoints, Receive, Scope, Send, path_below
from .errors import ConfigError
from .front import Front
from .hub import Authorize, Hub
from .ladder import LADDER
from .options import PREFIX, Options, options_from
from .present import Present
from .request import Identity, Request
from .room import Room
from .schemas import Document, Schema, schema_of
from .serve import address, configuration, listen, serve, set_aside
from .servers import find_loop
from .systemd import inherited
from .transport import Transport
from .workers import keep, serve_at
from .workers import place as find_place

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Live:
    """One event stream over every wire, for a Quart app or, as `.asgi`, for any ASGI framework.

    Args:
        app: the Quart app to extend now; else call `init_app` later, or mount `.asgi` elsewhere.
        transports: what is offered, best first.
        **settings: the fields of `transports.Options`. They go before `LIVE_*` in the app's configuration.

    Raises:
        ConfigError: a setting is unknown or does not fit.
    """

    def __init__(self, app: Quart | None = None, *, transports: Sequence[Transport] = LADDER, **settings: Any) -> None:
        self._settings = settings
        self._transports = transports
        self._endpoints: Endpoints | None = None
        self._authorize: Authorize | None = None
        self._authenticate: tuple[Authenticate, bool] | None = None  # and whether it wants a context
        self._app: Quart | None = None
        self._schemas: dict[str, Schema] = {}
        options_from(settings)  # a wrong one is told where it was written
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> None:
        """Mount the endpoints in `app`, with `LIVE_*` of its configuration where no keyword argument was given."""
        if self._endpoints is not None:
            raise ConfigError("this Live is in use already: in another app, or since its hub was asked for; init_app comes first")
        if "live" in app.extensions:
            raise ConfigError("this app has a Live already")
        wanted = {**app.config, **{PREFIX + name.upper(): value for name, value in self._settings.items()}}
        self._app = app
        endpoints = self._make(options_from(wanted, prefix=PREFIX))
        app.extensions["live"] = self
        app.before_serving(partial(endpoints.hub.open, anew=True))
        app.after_serving(endpoints.hub.close)
        mount, quart = self.hub.options.mount, app.asgi_app

        def asgi_app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["type"] != "lifespan" and (below := path_below(scope)).startswith(mount + "/"):
                scope["root_path"] = (
                    scope["path"].removesuffix(below) + mount
                )  # nobody else is asked: no copy for a connection's life
                return endpoints(scope, receive, send)
            return quart(scope, receive, send)  # type: ignore[arg-type]

        app.asgi_app = asgi_app  # type: ignore[assignment, method-assign]

    @property
    def asgi(self) -> Endpoints:
        """The endpoints as an ASGI application, to be mounted in Starlette, FastAPI, Litestar, …, wherever you like: the
        setting `mount` is for Quart.
        """
        if self._endpoints is None:
            return self._make(options_from(self._settings))
        return self._endpoints

    def _make(self, options: Options) -> Endpoints:
        """Endpoints, with all that was said before there were any."""
        hub = Hub(options, authorize=self._authorize)
        for name, schema in self._schemas.items():
            hub.declare(name, schema)
        endpoints = self._endpoints = Endpoints(hub, transports=self._transports)
        endpoints.admission.tickets.secret = self._secret
        self._set_authenticate()
        return endpoints

    def _secret(self) -> str | bytes:
        """What tickets are signed with. It is looked for when it is needed: Quart's may be set late."""
        return self.hub.options.secret or (None if self._app is None else self._app.secret_key) or ""

    def _set_authenticate(self) -> None:
        if self._endpoints is not None and self._authenticate is not None:
            function, context = self._authenticate
            if context and self._app is not None:
                function = partial(_within, self._app, self.hub.options.mount, function)
            self._endpoints.admission.authenticate = function

    @property
    def hub(self) -> Hub:
        """The log and its readers."""
        return self.asgi.hub

    @property
    def front(self) -> Front:
        """What serves the streams of the app faster than ASGI can, given to `transports.serve.serve`."""
        return Front(self.asgi.admission, self.hub.options.mount)

    def run(self, host: str = "127.0.0.1", port: int = 8000, *, front: bool = True, workers: int | None = None) -> None:
        """Serve the app under Hypercorn until Ctrl-C or SIGTERM, and say `bye` to every reader before it ends.

        Args:
            host: address to listen on.
            port: 0 takes any that is free.
            front: whether streams, polls and commands are served in front of Hypercorn, on the same port.
            workers: processes that serve, each of which runs this program anew up to here; they need a broker that they
                share. Without a number this process serves.

        Raises:
            ConfigError: there is no app, or several workers have nothing in common.
            OSError: the address cannot be had.
            Refusal: 4504, the broker cannot be reached.
            SystemExit: the workers have ended.
        """
        if self._app is None:
            raise ConfigError("there is no app to run: Live(app) or live.init_app(app) first")
        place, options = find_place(), self.hub.options
        if workers is not None and not self.hub.shared:
            raise ConfigError(f"workers need a broker that they share: {options.broker} lives in one process")
        listening = (inherited() or listen(host, port)) if place is None else place.listening
        told = f"{address(listening)}/  ({'' if workers is None else f'workers: {workers}, '}Ctrl-C stops)"
        if place is None and workers is not None:
            sys.exit(keep(listening, workers, options.stays + options.drain, lambda: _say(f"serving {told}")))
        loads = None if place is None else place.loads
        config = configuration(listening, options, loads=loads, others=self.hub.shared, limits=self.hub.limits)
        set_aside()
        run = partial(serve, front=self.front if front else None)
        with asyncio.Runner(loop_factory=find_loop()) as runner:
            runner.run(serve_at(place, run, self._app, config, self.hub, lambda: _say(f"serving {told}")))

    @overload
    def authenticate(self, function: _Function, /) -> _Function: ...

    @overload
    def authenticate(self, function: None = None, /, *, context: bool = True) -> Callable[[_Function], _Function]: ...

    def authenticate(self, function: Callable[..., Any] | None = None, /, *, context: bool = True) -> Callable[..., Any]:
        """Decorate a function that tells who asks: given a `transports.request.Request`, it returns anything hashable, an
        `Identity` that also says until when, or None for nobody in particular. It may be a coroutine function, and may raise
        `Refusal(Code.UNAUTHORIZED)`. It is asked before every connection, poll and POST, and by the command `auth`.

        @live.authenticate
        def who(request):
            return quart.session.get("user")

        Args:
            function: if there is nothing else to say.
            context: whether it is called within a context of Quart's, so that `quart.session` and `quart.request` are there;
                what it changes in the session is not kept. Without one it costs less.
        """
        if function is None:
            return partial(self._authenticated, context)
        return self._authenticated(context, function)

    def _authenticated(self, context: bool, function: _Function) -> _Function:
        self._authenticate = function, context
        self._set_authenticate()
        return function

    def authorize(self, function: Authorize) -> Authorize:
        """Decorate a function that says whether `who` may do this (`publish`, `subscribe`, `present` or `observe`) with that
        channel; see `Hub`. It is asked again while somebody reads.

        @live.authorize
        def may(who, action, channel):
            return not channel.startswith("staff.")

        Raises:
            ConfigError: it is a coroutine function, and it has to answer at once.
        """
        if inspect.iscoroutinefunction(function):
            raise ConfigError(
                "authorize is a coroutine function, and it has to answer at once: let authenticate load what it needs"
            )
        self._authorize = function
        if self._endpoints is not None:
            self._endpoints.hub.authorize = function
        return function

    def channel(self, name: str, *, type: Any = None, schema: Document | None = None) -> None:  # noqa: A002 - it is one
        """Say what the events of a channel, or of all that a pattern takes in, look like; see `Hub.channel`.

        live.channel("orders.*", type=Order)
        live.channel("chat", schema={"type": "object", "required": ["text"]})
        """
        wanted = schema_of(name, type, schema)
        if self._endpoints is not None:
            self._endpoints.hub.declare(name, wanted)
        elif name in self._schemas:
            raise ConfigError(f"channel {name!r} has a schema already")
        self._schemas[name] = wanted

    async def revoke(self, who: Hashable) -> None:
        """End all connections of `who`, in all processes; see `Rights.revoke`. `authenticate` must not find them any more."""
        await self.hub.rights.revoke(who)

    async def recheck(self, who: Hashable = None) -> None:
        """Have `authorize` asked again about `who`, or about everybody, now and in all processes; see `Rights.recheck`."""
        await self.hub.rights.recheck(who)

    async def ticket(self, who: Hashable, path: str, *, expires: float | None = None) -> str:
        """A ticket for `who`, to be shown once within 30 s as `ticket=…` in a URL of the transport at `path` (`ws`, `sse`,
        `poll`); see `Tickets.give`.

        Args:
            who: as `authorize` will know them.
            path: of the transport.
            expires: seconds since 1970 until which the connection may last; None: no end.
        """
        await self.hub.open()
        return self.asgi.admission.give_ticket(Identity(who, expires), path).ticket

    async def publish(self, channel: str, data: Any, *, key: str | None = None, about: str | None = None) -> str:
        """Publish `data` (anything that JSON can say) to `channel` and return the event's id; see `Hub.publish`."""
        return await self.hub.publish(channel, data, key=key, about=about)

    def room(self, channel: str) -> Room:
        """A channel and who is in it, under one name."""
        return Room(self.hub, channel)

    def present(self, channel: str, *, as_: str, data: Any = None) -> Present:
        """Have a member of the server's own in `channel`, for the length of an `async with` block; see `Room.present`."""
        return self.room(channel).present(as_=as_, data=data)


async def _within(app: Quart, mount: str, function: Authenticate, request: Request) -> Any:
    """What `function` says of `request` within a context of Quart's for it."""
    context = app.request_context(_as_quarts(app, mount, request))
    await context.push()
    try:
        found = function(request)
        return await found if inspect.isawaitable(found) else found
    finally:
        await context.pop(None)


def _as_quarts(app: Quart, mount: str, request: Request) -> quart.Request:
    """`request` as Quart has requests: path, query, headers and address, but no body, which has not been read."""
    headers = Headers({"Remote-Addr": request.address or "<local>"})
    for name, value in request.headers.items():
        headers.add(name.title(), value)
    query, path = urlencode(request.query).encode(), f"{mount}/{request.path}"
    client = (request.address, 0) if request.address else None
    scope: Any = {"type": "http", "method": request.method, "path": path, "query_string": query, "client": client}
    scheme = "https" if request.secure else "http"
    scope |= {"scheme": scheme, "http_version": "1.1", "root_path": "", "headers": []}
    return app.request_class(request.method, scheme, path, query, headers, "", "1.1", scope, send_push_promise=_no_push)


async def _no_push(path: str, headers: Headers) -> None:
    """Nothing is pushed."""


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - for whoever started it
