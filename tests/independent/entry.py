"""Patient entry decoder: format.md, "Patient entry"."""

from dataclasses import dataclass

from fields import Fields, listed
from header import Header, Steps
from keyring import Keyring, NumberedKey, by_number, read_ring
from primitives import Refused, equal, has_control, tag16
from sealed import check_length, key_number, open_body

KIND = 16
PATIENT, ORGANIZATION = 1, 2
LIVE, ERASING, ERASED, ALIAS = range(4)


@dataclass(frozen=True)
class Subject:
    kind: int
    identifier: str


@dataclass(frozen=True)
class Chart:
    id: bytes
    name_key: bytes
    state: int
    created: int
    keys: list[NumberedKey]


@dataclass(frozen=True)
class Hold:
    id: int
    since: int
    reason: str


@dataclass(frozen=True)
class Entry:
    sequence: int
    generation: int
    state: int
    subject: Subject
    charts: list[Chart]
    dead_charts: list[bytes]
    holds: list[Hold]
    retention: int | None
    destroyed_keys: list[int]


def subject_tag(name_key: bytes, subject: Subject) -> bytes:
    return tag16(name_key, b"cl1/ptag" + bytes([subject.kind]), subject.identifier)


def open_entry(value: bytes, header: Header, keyring: Keyring, ptag: bytes) -> tuple[Entry, Steps]:
    """Opens the entry under the storage key that contains `ptag`."""
    number = key_number(value, KIND)
    check_length(value)
    master = by_number(keyring.masters, number)
    if master is None:
        raise Refused("UnknownMasterKey")
    opened = open_body(value, master, b"cl1/pent", header.vault + ptag)
    entry = decode_entry(opened.body)
    tags = [subject_tag(name_key.key, entry.subject) for name_key in keyring.name_keys]
    if not any(equal(tag, ptag) for tag in tags):
        raise Refused("NotAuthentic")
    if entry.generation > header.generation:
        raise Refused("HeaderRolledBack")
    steps = [
        ("master key", master),
        ("entry key", opened.key),
        ("entry commitment", opened.commitment),
        ("entry body", opened.body),
    ]
    return entry, steps


def decode_entry(body: bytes) -> Entry:
    fields = Fields(body)
    fields.schema()
    sequence, generation = fields.u64(), fields.u64()
    state = read_state(fields)
    subject = read_subject(fields)
    charts = fields.many(lambda: read_chart(fields))
    if (state == LIVE) != bool(charts):
        raise Refused("Malformed")
    if len(charts) > 1:
        raise Refused("Unsupported")
    moving_from = fields.u8()
    if moving_from != 0:
        raise Refused("Unsupported")
    dead_charts = fields.many(lambda: fields.take(16))
    holds = fields.many(lambda: Hold(fields.u64(), fields.i64(), fields.text()))
    retention = fields.option(fields.i64)
    destroyed = fields.extensions()
    fields.end()
    return Entry(
        sequence, generation, state, subject, charts, dead_charts, holds, retention, destroyed
    )


def read_state(fields: Fields) -> int:
    state = fields.code(range(4))
    if state == ERASING:
        fields.take(16)
    elif state == ALIAS:
        read_subject(fields)
    return state


def read_subject(fields: Fields) -> Subject:
    kind, identifier = listed(fields.u8(), range(1, 3)), fields.text()
    if not 1 <= len(identifier.encode()) <= 255 or has_control(identifier):
        raise Refused("Malformed")
    return Subject(kind, identifier)


def read_chart(fields: Fields) -> Chart:
    return Chart(
        fields.take(16),
        fields.take(32),
        fields.code(range(2)),
        fields.i64(),
        read_ring(fields, of_patient=True),
    )
