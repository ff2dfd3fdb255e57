"""Addresses: where a request comes from, if proxies are in front.

Each proxy adds the address that it was asked from at the end of a header. What is further to the left than there are proxies
of ours was written by whoever liked to, so it is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

_CUSTOMER: Final = 64  # bits of an IPv6 address that are one customer's, who has all that the others can make (RFC 6177)

_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;",]*))', re.IGNORECASE)  # RFC 7239 4
_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+)(?::[0-9]+)?")  # RFC 7239 6; some write a port elsewhere too


class Hops(NamedTuple):
    """So many proxies, which say in the header of that name where they were asked from."""

    number: int
    header: str


def hops(number: int, header: str) -> Hops | None:
    """None, where there is no proxy."""
    return Hops(number, header) if number else None


def client_address(peer: str, headers: Mapping[str, str], believe: Hops) -> str:
    """The address that the first of our proxies was asked from.

    Where fewer of them say something than there are, somebody came in behind the first: by the last that has been said. What
    is no address, such as `unknown`, is that of `peer`, a proxy.
    """
    *_, said = ("", *_last(headers.get(believe.header, ""), believe.number))
    if believe.header == "forwarded":
        match = _FOR.search(said)
        said = "" if match is None else match[1] or match[2]
    return _address(said.strip()) or peer


def network(address: str) -> str:
    """What counts as one address: of IPv6 all that a customer has; IPv4, however it is written, is itself."""
    if ":" not in address:
        return address
    try:
        full = IPv6Address(address)
    except ValueError:
        return address
    if full.ipv4_mapped is not None:
        return str(full.ipv4_mapped)
    return f"{IPv6Address(int(full) >> _CUSTOMER << _CUSTOMER)}/{_CUSTOMER}"


def _last(text: str, number: int) -> list[str]:
    """The last elements of a list, the very last first. A comma within quotes is none.

    It is read from the right: what a client wrote, quotes that it has left open included, cannot reach what proxies of ours
    added behind it.
    """
    found: list[str] = []
    end, quoted = len(text), False
    for place in range(len(text) - 1, -1, -1):
        if text[place] == '"' and not (quoted and text[place - 1 : place] == "\\"):
            quoted = not quoted
        elif text[place] == "," and not quoted:
            found.append(text[place + 1 : end])
            end = place
            if len(found) == number:
                return found
    return [*found, text[:end]]


def _address(text: str) -> str:
    """The address in `text`, without a port; empty, if there is none."""
    if match := _PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        return str(ip_address(text))
    except ValueError:
        return ""
