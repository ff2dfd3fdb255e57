"""`everywire`: the command line, where all parts are put together. Each command imports what it needs and no more."""

from __future__ import annotations

import asyncio
import errno
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from transports.errors import ConfigError, EverywireError, MissingExtraError, Refusal

_COMPARISON: Final = ("advise", "compare", "diff", "report")  # commands of `locustfiles`


class Commands(click.Group):
    """The commands; those of optional parts are found when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click."""
        return sorted([*super().list_commands(ctx), *_COMPARISON])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """See click."""
        if name in _COMPARISON:
            from locustfiles import compare

            found: click.Command = getattr(compare, name)
            return found
        return super().get_command(ctx, name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="everywire")
def cli() -> None:
    """One ordered event stream over WebSocket, Server-Sent Events and long-polling."""


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free port.")
@click.option(
    "--workers", type=click.IntRange(1, 1000), help="Serve from so many processes, and restart them on SIGHUP.  [default: none]"
)
@click.option(
    "--broker",
    default="memory://",
    show_default=True,
    envvar="EVERYWIRE_BROKER",
    help="Where the events are kept. Better set EVERYWIRE_BROKER, if there is a password in it.",
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    help="Allow this channel, or those that begin like this*, beside vitals. Default: any.",
)
@click.option("--certfile", type=click.Path(exists=True, dir_okay=False), help="Serve TLS with this certificate.")
@click.option("--keyfile", type=click.Path(exists=True, dir_okay=False), help="Its key.")
@click.option("--server", default="hypercorn", show_default=True, type=click.Choice(["hypercorn", "uvicorn", "granian"]))
@click.option(
    "--loop",
    default="auto",
    type=click.Choice(["auto", "asyncio", "uvloop"]),
    help="Event loop.  [default: auto, which is uvloop where that is installed]",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    envvar="EVERYWIRE_SET",
    help="A setting of the stream, such as trusted_hops=1. EVERYWIRE_SET may hold several, with spaces between them.",
)
@click.option(
    "--limits",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Bound the connections and commands of each client, or not: for loads from one machine.",
)
@click.option(
    "--front", type=click.Choice(["on", "off"]), help="Serve streams before Hypercorn, or in it.  [default: on with hypercorn]"
)
@click.option(
    "--log", type=click.Choice(["text", "json"]), help="Tell on standard error who comes and goes.  [default: of faults only]"
)
def serve(
    host: str,
    port: int,
    workers: int | None,
    broker: str,
    channels: tuple[str, ...],
    certfile: str | None,
    keyfile: str | None,
    server: str,
    loop: str,
    given: tuple[str, ...],
    limits: str,
    front: str | None,
    log: str | None,
) -> None:
    """Serve the page and the stream."""
    if log is not None:
        _tell(log)
    if (certfile is None) != (keyfile is None):
        raise click.UsageError("TLS needs both: --certfile and --keyfile")
    if front == "on" and server != "hypercorn":
        raise click.UsageError(f"--front on: the front is Hypercorn's, {server} serves all by itself")
    from transports.options import UNBOUNDED, settings_from
    from transports.serve import address, configuration, listen, set_aside
    from transports.serve import serve as hypercorn
    from transports.servers import find_loop, find_server
    from transports.systemd import inherited
    from transports.workers import keep, serve_at
    from transports.workers import place as find_place

    from . import create_app

    try:
        run, new_loop = find_server(server), find_loop(loop)
    except MissingExtraError as error:
        raise click.ClickException(str(error)) from error
    try:
        settings = {**(UNBOUNDED if limits == "off" else {}), **settings_from(given)}
    except ConfigError as error:
        raise click.UsageError(f"--set: {error}") from error
    try:
        app = create_app(**{"channels": [*channels, "vitals"] if channels else ["*"], "broker": broker, **settings})
    except ConfigError as error:
        if not str(error).startswith("LIVE_CHANNELS"):
            raise click.UsageError(f"--broker: {error}") from error
        raise click.UsageError("--channel: a name has 1 to 128 of A-Z a-z 0-9 _ . : - and may end in *") from error
    except MissingExtraError as error:
        raise click.ClickException(str(error)) from error
    live = app.extensions["live"]
    hub = live.hub
    if workers is not None and not hub.shared:
        raise click.UsageError(f"--workers need a --broker that they share: {broker} lives in one process")
    if server == "hypercorn" and front != "off":
        run = partial(hypercorn, front=live.front)
    try:
        place = find_place()
        listening = (inherited() or listen(host, port)) if place is None else place.listening
    except OSError as error:
        hint = " Another --port may be free." if error.errno == errno.EADDRINUSE else ""
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}.{hint}") from error
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    url = address(listening).replace("http:", "https:" if certfile else "http:")
    kept = "" if workers is None else f"workers: {workers}, "
    line = f"everywire serves {url}/  (stream at {url}{hub.options.mount}, {kept}Ctrl-C stops)"
    if place is None and workers is not None:
        sys.exit(keep(listening, workers, hub.options.stays + hub.options.drain, partial(click.echo, line)))
    try:
        loads = None if place is None else place.loads
        more = {"loads": loads, "others": hub.shared, "limits": hub.limits}
        config = configuration(listening, hub.options, certfile=certfile, keyfile=keyfile, **more)
        set_aside()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(serve_at(place, run, app, config, hub, partial(click.echo, line)))
    except Refusal as refusal:
        raise click.ClickException(f"cannot serve: {refusal}") from refusal
    except ssl.SSLError as error:
        raise click.ClickException(f"{certfile} and {keyfile} are no certificate and its key: {error}") from error


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free port.")
def lab(host: str, port: int) -> None:
    """Serve the lab: a page on which to watch every wire, break the network, and stop the server.

    Everybody who can reach the page can do so: that is what it is for.
    """
    from transports.serve import listen

    from .lab.running import run, url_of

    try:
        listening = listen(host, port)
    except OSError as error:
        hint = " Another --port may be free." if error.errno == errno.EADDRINUSE else ""
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}.{hint}") from error
    url = url_of(listening)

    def ready(lab: Any) -> None:
        click.echo(f"everywire lab at {url}  (server under test: process {lab.stage.server.pid}, Ctrl-C stops both)")

    try:
        asyncio.run(run(listening, ready))  # in asyncio's own loop: networks are proven there, resets and all
    except EverywireError as error:
        raise click.ClickException(str(error)) from error


@cli.command()
@click.argument("url")
@click.argument("channel")
@click.option("--every-line-at", "rate", type=click.FloatRange(min=0, min_open=True), help="Lines per second, for replays.")
@click.option("--about", help="Which of the channel's things the lines tell of.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Trust this certificate authority.")
@click.option("--token", envvar="EVERYWIRE_TOKEN", help="Show this token. Better: set EVERYWIRE_TOKEN.")
def publish(url: str, channel: str, **wanted: Any) -> None:
    """Publish each line of standard input to CHANNEL: JSON as what it says, anything else as text.

    \b
    tail -F access.log | everywire publish http://127.0.0.1:8000/live access
    """

    if sys.stdin is None:
        raise click.UsageError("there is no standard input to publish")

    def work() -> Any:
        from .pipes import publish_lines

        return publish_lines(url, channel, sys.stdin.buffer, **wanted)

    _run(work)


@cli.command()
@click.argument("url")
@click.argument("channel", nargs=-1, required=True)
@click.option("--transport", default="auto", show_default=True, type=click.Choice(["auto", "websocket", "sse", "longpoll"]))
@click.option("--since", help="Read on from this position, the id of an event.")
@click.option("--latest", is_flag=True, help="Of what piled up, only the newest.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many events.")
@click.option("--wire", is_flag=True, help="Print the bytes as they arrive on the wire instead.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Trust this certificate authority.")
@click.option("--token", envvar="EVERYWIRE_TOKEN", help="Show this token. Better: set EVERYWIRE_TOKEN.")
@click.option("-v", "--verbose", is_flag=True, help="Tell of every change of state, and why.")
def tail(url: str, channel: tuple[str, ...], **wanted: Any) -> None:
    """Print the events of CHANNEL... as they come, one JSON object a line. 'orders.*' are all that begin like this."""

    def work() -> Any:
        from .pipes import print_events

        return print_events(url, channel, **wanted)

    _run(work)


@cli.command()
@click.argument("broker", envvar="EVERYWIRE_BROKER")
@click.option(
    "--over", default=10.0, show_default=True, type=click.FloatRange(0, 86_400), help="Seconds over which they go, at the least."
)
@click.option(
    "--tolerance",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1000),
    help="Part of the average that one may have more.",
)
def rebalance(broker: str, over: float, tolerance: float) -> None:
    """Have the processes that share BROKER, a URL, send their readers to each other until all have about as many.

    Readers go without a gap, and streams only: a poll may land anywhere as it is.
    """

    def work() -> Any:
        from transports import Options
        from transports.brokers import broker_from
        from transports.brokers.sqlite import path_of
        from transports.peers import rebalance

        if broker.startswith("sqlite:") and not path_of(broker).exists():  # it would be made
            raise ConfigError(f"there is no file {path_of(broker)}: nobody serves its events")
        return rebalance(broker_from(Options(broker=broker)), over, tolerance)

    shares = _run(work)
    for share in shares:
        click.echo(f"{share.name:40} {share.readers:8} readers" + (f", sends {share.goes} away" if share.goes else ""))
    if not any(share.goes for share in shares):
        click.echo("That is even enough.")


@cli.command()
@click.option("--upstream", help="The server: http://host:port, host:port or :port. A path is kept.")
@click.option("--network", "names", default="open", show_default=True, help="A name of --list; more than one joined by +.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8100, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free port.")
@click.option("--expose", is_flag=True, help="Yes, others than this machine shall reach it.")
@click.option("--seed", type=int, help="Let chance be the same every time.")
@click.option("--wire", is_flag=True, help="Print what passes.")
@click.option(
    "--ca", type=click.Path(dir_okay=False, path_type=Path), help="Write the authority of a network that ends TLS here."
)
@click.option("--list", "wanted", is_flag=True, help="Show the networks that there are.")
def proxy(upstream: str | None, names: str, wire: bool, ca: Path | None, wanted: bool, **settings: Any) -> None:
    """Play a bad network in front of a server. Lines on standard input change it while connections are open."""
    from .relay import play, table

    if wanted:
        click.echo(table())
        return
    if upstream is None:
        raise click.UsageError("in front of what? Say --upstream :8000")

    def work() -> Any:
        from transports.networks import Network

        return play(Network(names, upstream=upstream, **settings), wire=wire, ca=ca)

    _run(work)


@cli.command()
@click.argument("url")
@click.option(
    "--channel", "channels", multiple=True, help="Read this channel; a quiet one shows most. Default: everywire-doctor."
)
@click.option(
    "--idle",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="Seconds of silence to try, up to the server's beat; 0: none.",
)
@click.option(
    "--life", default=20.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to hold a stream; 0: a few."
)
@click.option("--quick", is_flag=True, help="As --idle 0 --life 0: a few seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Trust this certificate authority.")
@click.option("--header", "headers", multiple=True, help="Send this 'Name: value' with every request.")
@click.option("--token", envvar="EVERYWIRE_TOKEN", help="Show this token. Better: set EVERYWIRE_TOKEN.")
def doctor(url: str, channels: tuple[str, ...], headers: tuple[str, ...], quick: bool, **wanted: Any) -> None:
    """Tell what stands between here and the mount at URL, what it does to each transport, and which lines mend it.

    Exit code: 0 the best transport works, 10 something works, 20 nothing does.
    """
    if quick:
        wanted.update(idle=0.0, life=0.0)
    if channels:
        wanted["channels"] = channels
    named = dict(_header(text) for text in headers)

    def work() -> Any:
        from .doctor import look

        return look(url, headers=named, **wanted)

    try:
        raise SystemExit(_run(work))
    except click.ClickException as error:
        if isinstance(error.__cause__, ConfigError):  # what was asked for makes no sense
            raise click.UsageError(str(error)) from error
        raise


@cli.command()
@click.argument("kind", type=click.Choice(["asyncapi", "openapi"]))
@click.option("--app", help="Of this application: module:name, or module:create_app().")
@click.option("--title", default="everywire", show_default=True, help="Of the document.")
@click.option("--version", default="1", show_default=True, help="Of what it describes.")
@click.option("--json", "in_json", is_flag=True, help="Write JSON, which needs no extra.")
def contract(kind: str, app: str | None, title: str, version: str, in_json: bool) -> None:
    """Write what travels for machines to read: what goes over the wires (asyncapi), or the paths (openapi).

    With --app the channels that it described are in it.
    """
    from .contract import written

    try:
        click.echo(written(kind, app, title=title, version=version, in_json=in_json), nl=False)
    except (ConfigError, MissingExtraError) as error:
        raise click.ClickException(str(error)) from error


@cli.command()
@click.argument("url", required=False)
@click.option("--channel", default="everywire-conformance", show_default=True, help="A channel to read and publish in.")
@click.option("--only", multiple=True, help="Checks by name, 'resume', 'resume/sse' or '*/sse'.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Print what fails, and the sum.")
@click.option("--list", "wanted", is_flag=True, help="Show the checks that there are.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Trust this certificate authority.")
@click.option("--header", "headers", multiple=True, help="Send this 'Name: value' with every request.")
@click.option("--token", envvar="EVERYWIRE_TOKEN", help="Show this token. Better: set EVERYWIRE_TOKEN.")
def conformance(url: str | None, wanted: bool, only: tuple[str, ...], headers: tuple[str, ...], **settings: Any) -> None:
    """Check that the server with its mount at URL speaks the protocol, over all three transports.

    It publishes in a channel, so take one that nobody minds. Exit code: 0 it does, 1 it does not.
    """
    if wanted:
        from transports.conformance import chosen

        from .conformance import table

        try:
            click.echo(table(chosen(only)))
        except ConfigError as error:
            raise click.UsageError(str(error)) from error
        return
    if url is None:
        raise click.UsageError("which server? Say http://127.0.0.1:8000/live")
    named = [_header(text) for text in headers]

    def work() -> Any:
        from .conformance import look

        return look(url, only=only, headers=named, **settings)

    raise SystemExit(_run(work))


def _tell(how: str) -> None:
    """Have logs written to standard error, from INFO on."""
    import logging

    from transports.journal import JsonLines, Text

    logs = logging.StreamHandler()
    logs.setFormatter(JsonLines() if how == "json" else Text())
    logging.basicConfig(handlers=[logs], level=logging.INFO)


def _header(text: str) -> tuple[str, str]:
    """The name and the value of a header. Raises: click.UsageError."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise click.UsageError("--header: say 'Name: value'")  # what was said may be a secret
    return name.strip(), value.strip()


def _run(work: Callable[[], Any]) -> Any:
    """Run an asynchronous command; errors become one line and an exit code."""
    try:
        return asyncio.run(work())
    except Refusal as refusal:
        raise click.ClickException(f"refused: {refusal}") from refusal
    except EverywireError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        if error.errno == errno.EPIPE:  # `| head`: who read the output has seen enough
            raise
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def main() -> None:
    """Run the command line."""
    cli()
