"""Sealing of journal pages: the inverse of `open_page` in the reader."""

import os
from dataclasses import dataclass

from journal import ANY_SUBJECT, AUTHORITY_TAIL, BY_AUDITOR, BY_VAULT, PageId, read_filter
from primitives import AEADS, expand, key_and_commitment, sha256, u16, u32, u64
from sealed import open_body

# Four empty lists: pages seen, contexts, subjects, entries. Then no extensions.
EMPTY_LISTS = 5 * u64(0)
# The latest time before a page, -2^63 if there is none.
NO_TIME = u64(1 << 63)


@dataclass(frozen=True)
class Sealer:
    """What seals a page. An auditor has no authority key, so `authority` is None."""

    suite: int
    vault: bytes
    number: int
    key: bytes
    authority: tuple[int, bytes] | None

    def seal(self, page: PageId, body: bytes, kind: int | None = None) -> bytes:
        """Seals a body. The kind follows from the authority key, unless it is given."""
        kind = kind or (BY_VAULT if self.authority else BY_AUDITOR)
        head = bytes([1, self.suite, kind, 0]) + u32(self.number)
        salt = os.urandom(32)
        place = self.vault + page.writer + u64(page.sequence)
        filter = u16(ANY_SUBJECT)
        info = b"cl1/jrnl" + salt + place + head + sha256(filter)
        key, commitment = key_and_commitment(self.key, info)
        before = head + salt + commitment + filter
        if kind == BY_VAULT and self.authority:
            number, authority = self.authority
            signed = body + u32(number)
            info = b"cl1/auth" + place + sha256(before + signed)
            body = signed + expand(authority, info, 32)
        return before + AEADS[self.suite](key).encrypt(bytes(12), body, b"")


def open_raw(value: bytes, vault: bytes, keys: dict[int, bytes], page: PageId) -> tuple[bytes, bytes]:
    """Opens a page of a vault without a check of its authority. Returns its body and its authority tail."""
    key = keys[int.from_bytes(value[4:8], "little")]
    place = vault + page.writer + u64(page.sequence)
    body = open_body(value, key, b"cl1/jrnl", place, read_filter(value)).body
    return body[:-AUTHORITY_TAIL], body[-AUTHORITY_TAIL:]


def linked(body: bytes, previous: bytes) -> bytes:
    """Returns a body that continues another page."""
    return body[:2] + previous + body[34:]


def empty(previous: bytes, began: int) -> bytes:
    """Returns the body of a page without entries."""
    return u16(1) + previous + u64(began) + NO_TIME + EMPTY_LISTS


def new_chain(began: int, number: int) -> PageId:
    """Returns the first page of a chain that began at this time."""
    return PageId(began.to_bytes(6, "big") + bytes([number]) * 10, 0)


def after(page: PageId) -> PageId:
    return PageId(page.writer, page.sequence + 1)
