"""Keyring decoder: format.md, "Key rings" and "Keyring"."""

from dataclasses import dataclass

from fields import Fields
from primitives import Refused, has_control

ACTIVE, INACTIVE = 0, 1
MOST_HEADS = 64
SLOT_NAMES = 2
LONGEST_LABEL = 64


@dataclass(frozen=True)
class NumberedKey:
    number: int
    state: int
    created: int
    key: bytes


# Heads of a closing: writer, sequence and digest. An open closing is None.
Closing = list[tuple[bytes, int, bytes]] | None


@dataclass(frozen=True)
class Keyring:
    masters: list[NumberedKey]
    name_keys: list[NumberedKey]
    journal_keys: list[NumberedKey]
    authority_keys: list[NumberedKey]
    closings: list[Closing]
    destroyed_masters: list[int]
    # Creation time and label by slot id.
    slot_names: dict[int, tuple[int, str]]


def decode_keyring(body: bytes) -> Keyring:
    fields = Fields(body)
    fields.schema()
    rings = fields.many(lambda: (fields.u16(), read_ring(fields)))
    roles = [role for role, _ in rings]
    if roles[:4] != [1, 2, 3, 4] or sorted(set(roles)) != roles:
        raise Refused("Malformed")
    _, _, journal, authority = (keys for _, keys in rings[:4])
    closings = read_closings(fields)
    if not len(closings) == len(journal) - 1 == len(authority) - 1:
        raise Refused("Malformed")
    found = {}
    destroyed = fields.extensions(found=found, checks={SLOT_NAMES: read_slot_names})
    names = read_slot_names(found.get(SLOT_NAMES, b""))
    keyring = Keyring(*(keys for _, keys in rings[:4]), closings, destroyed, names)
    fields.end()
    return keyring


def read_slot_names(value: bytes) -> dict[int, tuple[int, str]]:
    """Reads extension 2."""
    fields = Fields(value)
    names: dict[int, tuple[int, str]] = {}
    while fields.left():
        id, created, length = fields.u16(), fields.i64(), fields.u8()
        if length > LONGEST_LABEL or (names and id <= max(names)):
            raise Refused("Malformed")
        label = fields.utf8(length)
        if has_control(label):
            raise Refused("Malformed")
        names[id] = created, label
    return names


def read_closings(fields: Fields) -> list[Closing]:
    def closing() -> Closing:
        if fields.code(range(2)) == 0:
            return None
        return fields.many(lambda: (fields.take(16), fields.u64(), fields.take(32)))

    closings = fields.many(closing)
    if None in closings[1:] or any(heads and len(heads) > MOST_HEADS for heads in closings):
        raise Refused("Malformed")
    return closings


def read_ring(fields: Fields, of_patient: bool = False) -> list[NumberedKey]:
    """Reads the keys of one role: the first is active, the others are inactive."""

    def key() -> NumberedKey:
        number = fields.u32()
        # Only patient keys have a compartment.
        if of_patient and fields.u16() != 0:
            raise Refused("Unsupported")
        return NumberedKey(number, fields.code(range(2)), fields.i64(), fields.take(32))

    keys = fields.many(key)
    states = [key.state for key in keys]
    numbers = {key.number for key in keys}
    if states[:1] != [ACTIVE] or ACTIVE in states[1:] or len(numbers) != len(keys):
        raise Refused("Malformed")
    return keys


def by_number(keys: list[NumberedKey], number: int) -> bytes | None:
    return next((key.key for key in keys if key.number == number), None)
