"""Envelope of patient entries, journal pages and covered chain heads."""

from dataclasses import dataclass

from primitives import AEADS, FORMAT, TAG_LENGTH, Refused, equal, key_and_commitment, open_sealed, sha256

HEAD_LENGTH = 8
AROUND_BODY = 88
LONGEST_BODY = 1_048_576


@dataclass(frozen=True)
class Opened:
    key: bytes
    commitment: bytes
    body: bytes


def key_number(value: bytes, kind: int) -> int:
    """Checks the first 8 bytes of a value, and returns the number of the key that sealed it."""
    if len(value) < HEAD_LENGTH:
        raise Refused("Malformed")
    format, suite, found_kind, zero = value[:4]
    if format != FORMAT:
        raise Refused("Unsupported")
    if zero != 0:
        raise Refused("Malformed")
    if found_kind != kind or suite not in AEADS:
        raise Refused("Unsupported")
    return int.from_bytes(value[4:8], "little")


def check_length(value: bytes, filter_length: int = 0) -> None:
    if not 0 <= len(value) - AROUND_BODY - filter_length <= LONGEST_BODY:
        raise Refused("Malformed")


def open_body(
    value: bytes, key: bytes, label: bytes, place: bytes, filter: bytes | None = None
) -> Opened:
    """Opens a value whose length was checked. In the HKDF info, `place` is between salt and head.
    Only a journal page has a filter behind the commitment."""
    salt, stored, sealed = value[8:40], value[40:72], value[72 + len(filter or b"") :]
    assert len(sealed) >= TAG_LENGTH
    info = label + salt + place + value[:HEAD_LENGTH]
    if filter is not None:
        info += sha256(filter)
    body_key, commitment = key_and_commitment(key, info)
    if not equal(commitment, stored):
        raise Refused("NotAuthentic")
    return Opened(body_key, commitment, open_sealed(value[1], body_key, sealed))
