"""Packing: the texts that the page is made of, with gzip where the browser takes it. Each is packed once."""

from __future__ import annotations

import gzip
from functools import lru_cache
from typing import Final

from quart import Response, request

from transports.codings import choose

_TEXTS: Final = ("text/html", "text/css", "text/javascript", "application/javascript", "application/json", "image/svg+xml")


async def packed(response: Response) -> Response:
    """Pack an answer; for `after_request`. One that nobody may keep is made for its request alone, and stays as it is."""
    if response.mimetype not in _TEXTS or response.cache_control.no_store:
        return response
    response.vary.add("Accept-Encoding")  # of a 206 and a 304, too (RFC 9110 15.4.5)
    if response.status_code != 200 or choose(request.headers.get("Accept-Encoding", ""), ("gzip",)) != "gzip":
        return response
    etag, _ = response.get_etag()
    response.set_data(_gzip(await response.get_data(as_text=False)))
    response.content_encoding = "gzip"
    if etag is not None:
        response.set_etag(etag, weak=True)  # the same, in other bytes (RFC 9110 8.8.1)
    return response


@lru_cache(maxsize=128)
def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)
