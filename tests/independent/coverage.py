"""Reader of the covered chain heads: format.md, "Covered chain heads"."""

from dataclasses import dataclass
from typing import Any

from fields import Fields
from header import Steps
from journal import PageId, plain_fields, read_page_id
from keyring import NumberedKey
from primitives import Refused, sha256
from sealed import check_length, key_number, open_body

KIND = 24
KEY = b"a"


@dataclass(frozen=True)
class Range:
    last: bytes
    digest: bytes


@dataclass(frozen=True)
class Coverage:
    page: PageId
    digest: bytes
    walked: int
    ranges: list[Range]
    listed: list[PageId]
    steps: Steps

    def plain(self, storage: dict[bytes, bytes]) -> dict[str, Any]:
        return {
            "page": plain_fields(self.page) | {"digest": self.digest.hex()},
            "walked": self.walked,
            "ranges": [plain_fields(one) for one in self.ranges],
            "listed": [plain_fields(head) for head in self.listed],
            "uncovered": [plain_fields(head) for head in self.uncovered(storage)],
        }

    def is_used(self, storage: dict[bytes, bytes]) -> bool:
        """Returns whether the page exists with its digest."""
        value = storage.get(b"j" + self.page.writer + self.page.sequence.to_bytes(8, "big"))
        return value is not None and sha256(value) == self.digest

    def uncovered(self, storage: dict[bytes, bytes]) -> list[PageId]:
        listed = {head.writer: head.sequence for head in self.listed}
        uncovered, rest = [], []
        for head in heads(storage):
            if head.writer not in listed and head.writer != self.page.writer:
                rest.append(head)
            elif listed.get(head.writer, -1) < head.sequence:
                uncovered.append(head)
        for one in self.ranges:
            inside = [head for head in rest if head.writer <= one.last]
            rest = rest[len(inside) :]
            if digest_of(inside) != one.digest:
                uncovered += inside
        return sorted(uncovered + rest)


def heads(storage: dict[bytes, bytes]) -> list[PageId]:
    """Returns the head of each chain, in ascending order."""
    last: dict[bytes, int] = {}
    for key in sorted(storage):
        if len(key) == 25 and key.startswith(b"j"):
            last[key[1:17]] = int.from_bytes(key[17:], "big")
    return [PageId(writer, sequence) for writer, sequence in sorted(last.items())]


def digest_of(heads: list[PageId]) -> bytes:
    return sha256(b"".join(head.writer + head.sequence.to_bytes(8, "big") for head in heads))


def open_coverage(value: bytes, vault: bytes, authority: list[NumberedKey]) -> Coverage:
    """Opens the object under the active authority key."""
    active = authority[0]
    if key_number(value, KIND) != active.number:
        raise Refused("NotAuthentic")
    check_length(value)
    opened = open_body(value, active.key, b"cl1/cvrg", vault)
    steps = [
        ("authority key", active.key),
        ("coverage key", opened.key),
        ("coverage commitment", opened.commitment),
        ("coverage body", opened.body[:4096]),
    ]
    fields = Fields(opened.body)
    fields.schema()
    page, digest, walked = read_page_id(fields), fields.take(32), fields.i64()
    ranges = fields.many(lambda: Range(fields.take(16), fields.take(32)))
    require_ascending([one.last for one in ranges])
    listed = fields.many(lambda: read_page_id(fields))
    require_ascending([head.writer for head in listed])
    fields.extensions(has_destroyed=False)
    fields.end()
    return Coverage(page, digest, walked, ranges, listed, steps)


def require_ascending(writers: list[bytes]) -> None:
    if any(one >= following for one, following in zip(writers, writers[1:])):
        raise Refused("Malformed")
