"""Keyring decoder: format.md, "Key rings" and "Keyring"."""

from dataclasses import dataclass

from fields import Fields
from primitives import Refused

ACTIVE, INACTIVE = 0, 1
MOST_HEADS = 64


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
    keyring = Keyring(*(keys for _, keys in rings[:4]), closings, fields.extensions())
    fields.end()
    return keyring


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
