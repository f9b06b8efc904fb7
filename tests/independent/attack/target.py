"""The attacked vault, and the moves on it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from credential import KeyFile
from entry import Entry, open_entry
from header import Header, open_auditor, parse_header, unlock
from journal import Journal, JournalKeys, PageId, journal_keys, read_journal
from keyring import Keyring
from primitives import sha256

Storage = dict[bytes, bytes]
# Kinds of findings, by the part of the report that contains them.
Findings = dict[str, set[str]]


@dataclass(frozen=True)
class Move:
    """A move: the storage after it, and the findings that the library must report, or may report."""

    name: str
    after: Storage
    must: Findings
    may: Findings = field(default_factory=dict)

    def plain(self, before: Storage) -> dict:
        """Returns the move for JSON: changed objects, with null for those that are removed."""
        keys = sorted({*before, *self.after})
        changed = [key for key in keys if before.get(key) != self.after.get(key)]
        values = {key.hex(): self.after[key].hex() if key in self.after else None for key in changed}
        return {
            "name": self.name,
            "changes": values,
            "must": {part: sorted(kinds) for part, kinds in self.must.items()},
            "may": {part: sorted(kinds) for part, kinds in self.may.items()},
        }


class Target:
    """A fresh vault, an earlier state of its storage, and the keys of its slots."""

    def __init__(self, storage: Storage, earlier: Storage, owner: KeyFile, auditor: KeyFile):
        self.storage = storage
        self.earlier = earlier
        self.header: Header = parse_header(storage[b"v"])
        self.keyring: Keyring = unlock(self.header, owner).keyring
        self.keys: JournalKeys = journal_keys(self.header, owner)[0]
        # What an auditor has: journal keys by number, the active one first.
        self.auditors_keys: dict[int, bytes] = open_auditor(self.header, auditor)[0]
        self.journal: Journal = read_journal(storage, self.header.vault, self.keys)

    def chains(self) -> list[list[PageId]]:
        """Returns the pages of each chain, oldest chain first."""
        chains: dict[bytes, list[PageId]] = {}
        for page in sorted(self.journal.pages):
            chains.setdefault(page.writer, []).append(page)
        return list(chains.values())

    def value(self, page: PageId) -> bytes:
        return self.storage[key_of(page)]

    def digest(self, page: PageId) -> bytes:
        return sha256(self.value(page))

    def pages_with(self, operation: int) -> Iterator[PageId]:
        """Yields the pages of vaults with a settled entry of this operation."""
        for id, page in self.journal.pages.items():
            if any(entry.operation == operation for entry in page.entries):
                yield id

    def entries(self) -> list[tuple[bytes, Entry]]:
        """Returns the patient entries with their storage keys."""
        keys = [key for key in self.storage if key.startswith(b"p")]
        return [
            (key, open_entry(self.storage[key], self.header, self.keyring, key[1:])[0])
            for key in keys
        ]

    def with_object(self, key: bytes, value: bytes) -> Storage:
        return self.storage | {key: value}

    def with_page(self, page: PageId, value: bytes) -> Storage:
        return self.with_object(key_of(page), value)

    def without(self, keys: list[bytes]) -> Storage:
        return {key: value for key, value in self.storage.items() if key not in keys}

    def put_back(self, classes: bytes) -> Storage:
        """Returns the storage with the objects of some classes as they were earlier."""
        now = {key: value for key, value in self.storage.items() if key[0] not in classes}
        return now | {key: value for key, value in self.earlier.items() if key[0] in classes}


def key_of(page: PageId) -> bytes:
    return b"j" + page.writer + page.sequence.to_bytes(8, "big")
