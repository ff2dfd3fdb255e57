"""Who reads on a connection: a stream, a WebSocket, or a poll that waits.

Each is in step with the log, as a member of a group, or alone with a feed of its own: at its beginning, while it catches
up, and when it is sent away. It is alone as soon as the client does not take everything at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard

from ..accounts import Account
from ..admission import CLOSE_WAIT, SILENT_BEATS, Poll, Stream, silent_refusal
from ..commands import hear
from ..deflate import SLACK, inflate
from ..errors import Code, Refusal
from ..feed import Feed
from ..figures import ANSWERED
from ..frames import BINARY, CLOSE, PING, PONG, TEXT, TOO_BIG, Frame, FrameError, Frames, Packed, check_text, parse_close
from ..frames import close as close_frame
from ..frames import frame as ws_frame
from ..group import Framing, Reader
from ..items import bye_of, encode
from ..transport import Transport
from ..websocket import strange
from .exchanges import Lingering
from .framing import Whole, framed

if TYPE_CHECKING:
    from .connection import Connection

_log = logging.getLogger("transports")
_PING = ws_frame(b"", PING)


class OnLine(Reader):
    """A reader on a connection of the front.

    Args:
        line: the connection.
        feed: what to read; None for one who is sent away at once.
        frame: what is written of a batch.
        beat: seconds of the longest silence; None: it waits for one batch.
        account: its own; None for one who is sent away at once.
    """

    __slots__ = ("line", "write")

    def __init__(self, line: Connection, feed: Feed | None, frame: Framing, beat: float | None, account: Account | None) -> None:
        self.line = line
        self.write: Callable[[bytes], Any] = line.transport.write
        super().__init__(line.front.groups, feed, frame, beat, account)

    @property
    def blocked(self) -> bool:
        """See `Reader.blocked`."""
        return self.line.full

    def full(self) -> None:
        """The client does not take everything at once."""
        self.step_out()

    def empty(self) -> None:
        """It has taken everything."""
        self.pump()


class Streaming(OnLine):
    """A body that has no end."""

    __slots__ = ("_last",)

    def __init__(self, line: Connection, stream: Stream, frame: Framing, last: bytes) -> None:
        super().__init__(line, stream.feed, frame, stream.beat, stream.account)
        self._last = last

    def begin(self, head: bytes, stream: Stream) -> None:
        """Write the head of the answer with what opens its body, the first item, and what there is."""
        self.write(head + self._frame([stream.hello()]))
        self.pump()

    def ended(self, why: Refusal | None) -> None:
        """End the body, and with it the connection."""
        self.leave()
        self.line.write(self._last)
        self.line.close()

    def came(self, data: bytes) -> None:
        """A request behind one that is never answered in full will not be answered either: there is nothing to keep."""

    def late(self) -> None:
        """Nothing is waited for but that the client takes what it has."""

    def too_slow(self) -> None:
        """It has taken nothing for too long."""
        self.noted(Code.TOO_SLOW.name.lower())
        self.line.abort()


class Waiting(OnLine):
    """A poll that waits for something to happen."""

    __slots__ = ("_whole",)

    def __init__(self, line: Connection, poll: Poll, frame: Whole) -> None:
        super().__init__(line, poll.feed, frame, None, poll.account)
        self._whole = frame
        self.write = self._answer

    def begin(self, seconds: float) -> None:
        """Wait; who does not want to is told at once, and may have ended its side of the connection."""
        if not seconds:
            self.late()
            return
        self.line.watch.begin(seconds)
        self.pump()

    def _answer(self, data: bytes) -> None:
        self.noted(ANSWERED)
        self.leave()
        self.line.answered(data)

    def last(self) -> None:
        """The answer is to say that it is the last on this connection."""
        self.step_out()
        self._frame = self._whole.last()

    def late(self) -> None:
        """Nothing has happened in time."""
        self._write(self.own().beat())

    def ended(self, why: Refusal | None) -> None:
        """The last word was the answer; who was not told any is gone."""
        self.leave()

    def came(self, data: bytes) -> None:
        """A request before this one has been answered."""
        self.line.hold(data)

    def too_slow(self) -> None:
        """It has taken nothing of the answers before this one."""
        self.line.abort()


class Talk(OnLine):
    """A WebSocket: batches go down, commands come up."""

    __slots__ = ("_closing", "_frames", "_mute", "_pinged", "_said", "_task", "_transport", "_waiting")

    def __init__(self, line: Connection, transport: Transport, stream: Stream | None, packed: bool = False) -> None:
        self._said = BINARY if transport.binary else TEXT  # what messages are
        frame = framed(transport.frame, self._said, packed)
        super().__init__(line, stream and stream.feed, frame, stream and stream.beat, stream and stream.account)
        self._transport, options = transport, line.front.hub.options
        self._frames = Frames(options.message_bytes, options.message_bytes + SLACK if packed else 0)
        self._pinged = False  # by a command: a client that does so goes on doing it
        self._mute = stream is not None and not stream.feed.asked.names  # it follows nothing, and has said nothing
        self._closing = False  # we have sent a close frame
        self._waiting: list[Frame | FrameError] = []  # behind the one that is being answered
        self._task: asyncio.Task[None] | None = None

    def begin(self, head: bytes, stream: Stream) -> None:
        """Write the answer to the handshake, the first item, and what there is."""
        self.write(head + self._frame([stream.hello()]))
        if self._mute:
            self.line.watch.begin(self.line.front.hub.options.first_command_timeout)
        self.pump()

    def refuse(self, head: bytes, refusal: Refusal) -> None:
        """Write the answer to the handshake, and why that is all."""
        self.write(head + self._frame([encode(bye_of(refusal))]))
        self._close(int(refusal.code), refusal.name)

    def beat(self, data: bytes) -> None:
        """A beat, and a ping that any client answers: who does not is gone."""
        self.write(data + _PING)
        if not self._pinged and not self._mute:
            self.line.watch.begin(self._patience)

    @property
    def _patience(self) -> float:
        return SILENT_BEATS * (self._beat or 0)

    def came(self, data: bytes) -> None:
        """Bytes came up."""
        try:
            come: list[Frame | FrameError] = [*self._frames.feed(data)]
        except FrameError as error:
            come = [*error.before, error]
        for each in come:
            self._take(each)
        if not self._closing and not self._pinged and not self._mute:
            self.line.watch.end()  # it lives; a client that asks for answers of its own has to go on asking

    def _take(self, frame: Frame | FrameError) -> None:
        if _has(frame, PONG):
            return  # says that somebody lives, and that has been noted
        if self._task is not None and not _has(frame, PING):
            self._waiting.append(frame)  # even an end: what was said before it is done before it
        elif isinstance(frame, FrameError):
            if frame.code == TOO_BIG and not self._closing:  # the rest of it is passed over
                hub = self.line.front.hub
                what = f"a message of more than {hub.options.message_bytes} bytes"
                self.end(hub.limits.refuse("message_bytes", Code.TOO_LARGE, what))
            else:
                self._fail(frame)
        elif frame.opcode == PING and not self._closing:
            self.line.write(ws_frame(frame.payload, PONG))
        elif frame.opcode == CLOSE:
            self._closed(*parse_close(frame.payload))
        elif self._closing:
            return  # what comes before the answer to our close is of no use to anybody
        elif frame.opcode == self._said:
            self._mute = False
            if self._pinged:
                self.line.watch.begin(self._patience)
            self.line.pause()
            self._waiting.append(frame)
            self._task = self.line.loop.create_task(self._answer())
        else:
            self.end(strange(self._transport))

    async def _answer(self) -> None:
        """Answer all that has come, one after the other; nothing more is read before."""
        try:
            while self._waiting and _has(frame := self._waiting[0], self._said) and not self._closing:
                del self._waiting[0]
                replies, pinged = await hear(self._message(frame), self.line.front.hub, self, self._transport.heard)
                self._pinged |= pinged
                if replies and not self._closing:
                    self.line.write(ws_frame(self._transport.frame(replies), self._said))
        except Refusal as refusal:
            self.end(refusal)
        except FrameError as error:
            self._waiting.clear()
            self._fail(error)
        except Exception:
            _log.exception("a command over WebSocket failed")
            self.end(Refusal(Code.INTERNAL))
        finally:
            self._task = None
            if not self.line.full:
                self.line.go_on()
        left, self._waiting = self._waiting, []
        for frame in left:
            if not _has(frame, self._said):  # a command behind what has ended it is none any more
                self._take(frame)
        if self._pinged and not self._closing:
            self.line.watch.begin(self._patience)

    def _message(self, frame: Frame) -> bytes:
        """What a frame says. Raises: FrameError 1007, it is not deflate, or no text in it; Refusal 4413, far too much is."""
        if not isinstance(frame, Packed):
            return frame.payload
        hub = self.line.front.hub
        message = inflate(frame.payload, most := hub.options.message_bytes)
        if message is None:
            what = f"a message of more than {most} bytes, when it is inflated"
            raise hub.limits.refuse("message_bytes", Code.TOO_LARGE, what)
        if frame.opcode == TEXT:
            check_text(message)
        return message

    def ended(self, why: Refusal | None) -> None:
        """The last word has been said."""
        self.leave()
        if why is not None:
            self._close(int(why.code), why.name)

    def _close(self, code: int, reason: str) -> None:
        """Begin to close (RFC 6455 7.1.2): whoever is there has a moment to agree."""
        self.leave()
        if not self._closing:
            self._closing = True
            self.line.write(close_frame(code, reason))
            self.line.watch.begin(CLOSE_WAIT)

    def _fail(self, error: FrameError) -> None:
        """Tell why, and end: an answer to it could not be read (RFC 6455 7.1.7)."""
        self.noted(str(error.code))
        self.leave()
        if not self._closing:
            self._closing = True
            self.line.write(close_frame(error.code, error.reason))
        self.line.exchange = Lingering(self.line)

    def _closed(self, code: int, _: str) -> None:
        """The other side closes, or agrees to."""
        self.noted(Code.CLOSED.name.lower())
        self.leave()
        if not self._closing:
            self._closing = True
            self.line.write(close_frame(1000 if code == 1005 else code, ""))
        self.line.close()

    def full(self) -> None:
        """See `OnLine.full`. Whoever does not take the answers cannot go on asking."""
        super().full()
        self.line.pause()

    def empty(self) -> None:
        """See `OnLine.empty`."""
        if self._task is None:
            self.line.go_on()
        super().empty()

    def late(self) -> None:
        """No frame for too long, or nobody agreed to close."""
        if self._closing:
            self.line.abort()
        elif self._mute:
            self.end(silent_refusal(self.line.front.hub))
        elif self.line.full or self._task is not None:  # what it says is not read now: that is not its silence
            self.line.watch.begin(self._patience)
        else:
            self.end(Refusal(Code.SILENT, f"no frame for {self._patience:g} s, though it was asked for one"))

    def too_slow(self) -> None:
        """It has taken nothing for too long; perhaps it still takes the reason."""
        self.noted(Code.TOO_SLOW.name.lower())
        if self._closing:
            self.line.abort()
        else:
            self._close(int(Code.TOO_SLOW), Code.TOO_SLOW.name.lower())

    def leave(self) -> None:
        """See `Reader.leave`."""
        super().leave()
        if self.line.gone and self._task is not None:
            self._task.cancel()


def _has(frame: Frame | FrameError, opcode: int) -> TypeGuard[Frame]:
    return isinstance(frame, Frame) and frame.opcode == opcode
