"""The names in an X.509 certificate (RFC 5280 4.1), for one that is not trusted: Python's `ssl` reads only those that are."""

from __future__ import annotations

from typing import Final

from .observations import printable

_NAMES: Final = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O"}  # object identifiers 2.5.4.3 and 2.5.4.10
_SEQUENCE, _VERSION, _OID = 0x30, 0xA0, 0x06
_MOST: Final = 100_000  # bytes of a certificate


def issuer_and_subject(der: bytes) -> tuple[str, str]:
    """`O=…, CN=…` of who made a certificate and for whom; empty texts where it cannot be read."""
    try:
        fields = _children(_children(_children(der[:_MOST])[0][1])[0][1])
        fields = fields[1:] if fields[0][0] == _VERSION else fields
        return _name(fields[2][1]), _name(fields[4][1])  # after the serial number, the algorithm; after that, the validity
    except (IndexError, ValueError):
        return "", ""


def _name(body: bytes) -> str:
    """The parts of a name that people know."""
    parts = []
    for _, group in _children(body):
        for _, pair in _children(group):
            (kind, oid), (_, value) = _children(pair)[:2]
            if kind == _OID and oid in _NAMES:
                parts.append(f"{_NAMES[oid]}={printable(value.decode('utf-8', 'replace'), 80)}")
    return ", ".join(sorted(parts, reverse=True))


def _children(body: bytes) -> list[tuple[int, bytes]]:
    """The `(tag, content)`s of a DER body. Raises: ValueError, IndexError: it is none."""
    found, place = [], 0
    while place < len(body):
        tag, size, place = body[place], body[place + 1], place + 2
        if size & 0x80:
            count = size & 0x7F
            size, place = int.from_bytes(body[place : place + count], "big"), place + count
        if place + size > len(body):
            raise ValueError("it ends in the middle")
        found.append((tag, body[place : place + size]))
        place += size
    return found
