"""The lab's application: the page, what it may ask for, and a stream of what it is told. All of it is below `/lab`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta
from quart import Blueprint, Quart, Response, redirect, render_template, request
from werkzeug.exceptions import HTTPException

from transports import Code, Refusal
from transports.errors import ConfigError
from transports.networks.behaviours import How
from transports.options import UNBOUNDED
from transports.origins import foreign_page
from transports.quart import Live

from ..guard import guard
from ..look import look
from ..manual import manual
from .answers import answers
from .packing import packed
from .publisher import TOGETHER, Pace, Publisher
from .server import NotServingError
from .stage import LANES, Settings, Stage, table
from .words import chosen, words

MOUNT: Final = "/lab/live"

_Asked = TypeVar("_Asked", bound=msgspec.Struct)
_Lanes = Literal["all"] | Annotated[tuple[Literal["websocket", "sse", "longpoll", "auto"], ...], Meta(max_length=len(LANES))]
_KEPT: Final = 4 << 20  # bytes of each channel
_MOST: Final = 2 << 20  # bytes of one event: all that is shown of a tick
_BODY: Final = 65_536  # bytes of what the lab is asked


class NetworkAsked(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a network shall be. What is not said is not: no delay, all bytes at once."""

    lanes: _Lanes
    network: Annotated[str, Meta(max_length=200)] = "open"  # several names: what they do is told to every page
    delay_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    jitter_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    bytes_per_second: Annotated[float, Meta(ge=0, le=1e9)] = 0.0


class CutAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose connections shall end, and how."""

    lanes: _Lanes
    how: How = "reset"


class ServerAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall become of the server."""

    do: Literal["restart", "stop", "start", "kill"]


class Lab:
    """The application, and what its routes share: the stage, the publisher, and the stream on which the page is told of them."""

    def __init__(self) -> None:
        settings: dict[str, Any] = {"channels": ["state", "wire"], "mount": MOUNT, "message_bytes": _MOST, **UNBOUNDED}
        self.live = Live(history_count=300, history_age=30, history_bytes=_KEPT, **settings)
        self.stage = Stage(self._change)
        self.publisher = Publisher(lambda: self.stage.server.address, self._change)
        self.changes = 0
        self.app = _app(self)

    def _change(self) -> None:
        self.changes += 1

    def state(self) -> dict[str, Any]:
        """How everything stands, in JSON."""
        state = self.stage.state()
        for lane in LANES:
            state["lanes"][lane]["url"] = f"/lab/lanes/{lane}/live"
        return {**state, "networks": table(), "publisher": self.publisher.state()}


def _app(lab: Lab) -> Quart:
    """The application. Nobody may publish what the page is told."""
    app = Quart(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _BODY
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # the page's words, in a third of the bytes
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    lab.live.init_app(app)
    lab.live.authorize(lambda who, action, channel: action == "subscribe")
    app.register_blueprint(_pages())
    shared = look()
    shared.after_request(packed)
    app.register_blueprint(shared, url_prefix="/lab")
    app.register_blueprint(_commands(lab), url_prefix="/lab")
    app.register_blueprint(answers(), url_prefix="/lab/answers")
    app.register_blueprint(manual())
    app.register_error_handler(Refusal, _refuse)
    app.register_error_handler(HTTPException, _fail)
    return app


def _pages() -> Blueprint:
    pages = Blueprint("lab", __name__, static_folder="static", static_url_path="/lab/static", template_folder="templates")

    @pages.get("/")
    @pages.get("/lab")
    async def home() -> Any:
        return redirect("/lab/")

    @pages.get("/lab/")
    async def page() -> str:
        language = chosen(request.args.get("lang"), request.accept_languages)
        return await render_template("lab.html", mount=MOUNT, lanes=LANES, language=language, words=words(language))

    pages.after_request(guard)
    pages.after_request(packed)
    return pages


def _commands(lab: Lab) -> Blueprint:
    commands = Blueprint("commands", __name__)

    @commands.get("/state")
    async def state() -> Response:
        return _json(lab.state())

    @commands.post("/network")
    async def network() -> Response:
        asked = await _asked(NetworkAsked)
        settings = Settings(delay_ms=asked.delay_ms, jitter_ms=asked.jitter_ms, bytes_per_second=asked.bytes_per_second)
        try:
            lab.stage.switch(_lanes(asked.lanes), asked.network, settings)
        except ConfigError as error:
            raise Refusal(Code.BAD_COMMAND, str(error)) from error
        return _json(lab.state())

    @commands.post("/cut")
    async def cut() -> Response:
        asked = await _asked(CutAsked)
        return _json({"cut": lab.stage.cut(_lanes(asked.lanes), asked.how)})

    @commands.post("/server")
    async def server() -> Response:
        asked = await _asked(ServerAsked)
        try:
            await getattr(lab.stage.server, asked.do)()
        except NotServingError as error:
            raise Refusal(Code.INTERNAL, str(error)) from error
        return _json(lab.state())

    @commands.post("/publisher")
    async def publisher() -> Response:
        lab.publisher.become(await _pace(lab.publisher.pace))
        lab.stage.changed()
        return _json(lab.state())

    commands.after_request(guard)
    return commands


async def _pace(now: Pace) -> Pace:
    """As it is now, but for what is said. Raises: Refusal, it makes no sense."""
    said = msgspec.to_builtins(await _asked(Pace, now))
    pace = Pace(**said)
    if pace.together > TOGETHER:
        raise Refusal(
            Code.BAD_COMMAND, f"a burst of {pace.together} bytes: {TOGETHER} go in one request, so fewer or smaller events"
        )
    return pace


async def _asked(kind: type[_Asked], base: _Asked | None = None) -> _Asked:
    """What the body of the request says; over `base`, if there is one. Raises: Refusal."""
    foreign_page({name.lower(): value for name, value in request.headers.items()}, ())
    if request.mimetype != "application/json":
        raise Refusal(Code.BAD_COMMAND, "what is asked for comes as application/json", status=415)
    try:
        said = msgspec.json.decode(await request.get_data())
        if base is not None and isinstance(said, dict):
            said = {**msgspec.to_builtins(base), **said}
        return msgspec.convert(said, kind)
    except (msgspec.DecodeError, RecursionError) as error:  # too deep a nest
        raise Refusal(Code.BAD_COMMAND, f"not what /lab is asked with: {error}") from error


def _lanes(asked: _Lanes) -> Sequence[str]:
    return LANES if asked == "all" else tuple(asked)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, {"Cache-Control": "no-store"}, content_type="application/json")


async def _refuse(refusal: Refusal) -> Response:
    body = {"code": int(refusal.code), "name": refusal.name, "reason": refusal.reason, "retry": refusal.retry}
    return _json(body, refusal.status)


async def _fail(error: HTTPException) -> Response:
    status = error.code or 500
    return await _refuse(Refusal(Code.BAD_COMMAND if status < 500 else Code.INTERNAL, str(error.description), status=status))
