"""Moves of an attacker without keys, who writes the storage and kept an earlier copy of it."""

from collections.abc import Iterator

from attack.auditor import LOST_PAGE
from attack.target import Move, Storage, Target, key_of
from entry import LIVE


def moves(target: Target) -> Iterator[Move]:
    yield from on_records(target)
    yield from on_entries(target)
    yield from on_journal(target)
    yield from on_header(target)
    yield from put_back(target)


def of_class(storage: Storage, letter: bytes, length: int) -> list[bytes]:
    return sorted(key for key in storage if key.startswith(letter) and len(key) == length)


def on_records(target: Target) -> Iterator[Move]:
    current, earlier = of_class(target.storage, b"r", 33), of_class(target.storage, b"h", 41)
    segments = sorted(key for key in target.storage if key.startswith(b"s"))
    for key in current[::3]:
        yield Move("record removed", target.without([key]), {"records": {"missing"}})
    for key in earlier[::2]:
        yield Move("earlier version removed", target.without([key]), {"records": {"missing"}})
    for one, other in zip(current[::3], current[1::3]):
        swapped = target.storage | {one: target.storage[other], other: target.storage[one]}
        yield Move("records exchanged", swapped, {"records": {"altered"}})
    for key in segments[::5]:
        yield Move("segment removed", target.without([key]), {"records": {"content-missing"}})
        cut = target.with_object(key, target.storage[key][:-1])
        yield Move("segment cut", cut, {"records": {"content-altered"}})
    junk = target.with_object(current[0][:-1] + b"\x00\x00", bytes(200))
    yield Move("junk among the records", junk, {"journal": {"unexpected"}})


def on_entries(target: Target) -> Iterator[Move]:
    live = [key for key, entry in target.entries() if entry.state == LIVE]
    for key in live:
        yield Move("patient entry removed", target.without([key]), {"entries": {"missing"}})
    swapped = target.storage | {live[0]: target.storage[live[1]], live[1]: target.storage[live[0]]}
    yield Move("patient entries exchanged", swapped, {"entries": {"altered"}})


def on_journal(target: Target) -> Iterator[Move]:
    chains = target.chains()
    for chain in chains:
        if len(chain) > 2:
            storage = target.without([key_of(chain[1])])
            yield Move("page removed", storage, {"journal": {"missing"}}, LOST_PAGE)
    for chain in chains[:-1]:
        cut = target.without([key_of(chain[-1])])
        yield Move("chain cut", cut, {"journal": {"cut"}}, LOST_PAGE)
        removed = target.without([key_of(page) for page in chain])
        yield Move("chain removed", removed, {"journal": {"cut"}}, LOST_PAGE)
    # A key that is longer than that of a page.
    junk = target.with_object(key_of(chains[0][0]) + b"\x00", bytes(200))
    yield Move("junk among the pages", junk, {"journal": {"unexpected"}})


def on_header(target: Target) -> Iterator[Move]:
    # The earlier header lacks the newest journal key.
    must = {"header": {"rolled-back"}, "journal": {"unknown-journal-key"}}
    yield Move("header put back", target.put_back(b"v"), must)


def put_back(target: Target) -> Iterator[Move]:
    storage, earlier = target.storage, target.earlier
    for key in sorted(earlier):
        is_older = earlier[key] != storage.get(key)
        if key[:1] == b"r" and key in storage and is_older:
            older = target.with_object(key, earlier[key])
            yield Move("record put back", older, {"records": {"rolled-back"}})
        if key[:1] == b"p" and key in storage and is_older:
            older = target.with_object(key, earlier[key])
            yield Move("patient entry put back", older, {"entries": {"rolled-back"}})
    must = {"records": {"rolled-back"}, "entries": {"rolled-back"}}
    yield Move("records and entries put back", target.put_back(b"prhs"), must)
    # Without a checkpoint, an earlier state of everything is consistent: the documented exception.
    yield Move("everything put back", dict(earlier), {})
