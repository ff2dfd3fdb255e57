"""Selector: how asyncio waits inside of gevent."""

from __future__ import annotations

import contextlib
import selectors
import sys
from typing import Any

import gevent
from gevent import monkey, socket
from gevent.selectors import GeventSelector


def selector() -> selectors.BaseSelector:
    """The cheapest there is."""
    return Polled() if sys.platform == "linux" else Yielding()


class Yielding(GeventSelector):  # type: ignore[misc]
    """gevent's own, but it lets others work even if there is nothing to wait for. A loop that is never idle would starve them."""

    def select(self, timeout: float | None = None) -> Any:
        """See selectors."""
        if timeout is not None and timeout <= 0:
            gevent.sleep(0)
        return super().select(timeout)


class Polled(selectors._BaseSelectorImpl):
    """epoll, whose own descriptor gevent watches: one watcher for all connections. gevent's selector has one for each, and starts
    it anew for each event.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoll = monkey.get_original("select", "epoll")()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See selectors."""
        key: selectors.SelectorKey = super().register(fileobj, events, data)
        self._epoll.register(key.fd, _mask(events))
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See selectors. A socket that is closed already has left by that."""
        key: selectors.SelectorKey = super().unregister(fileobj)
        with contextlib.suppress(OSError):
            self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See selectors."""
        super().unregister(fileobj)
        key: selectors.SelectorKey = super().register(fileobj, events, data)
        self._epoll.modify(key.fd, _mask(events))
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See selectors."""
        if timeout is None or timeout > 0:
            try:
                socket.wait_read(self._epoll.fileno(), timeout)
            except TimeoutError:
                return []
        else:
            gevent.sleep(0)  # a loop that is never idle would starve the others
        found = []
        for fd, event in self._epoll.poll(0, max(1, len(self.get_map()))):
            if (key := self.get_map().get(fd)) is not None:
                found.append((key, _events(event) & key.events))
        return found

    def close(self) -> None:
        """See selectors."""
        self._epoll.close()
        super().close()


_IN, _OUT = 1, 4  # EPOLLIN and EPOLLOUT; gevent takes the names away


def _mask(events: int) -> int:
    return (_IN if events & selectors.EVENT_READ else 0) | (_OUT if events & selectors.EVENT_WRITE else 0)


def _events(mask: int) -> int:
    """Errors make both ready, so that whoever waits meets them."""
    return (selectors.EVENT_WRITE if mask & ~_IN else 0) | (selectors.EVENT_READ if mask & ~_OUT else 0)
