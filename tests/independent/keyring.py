"""Keyring decoder: format.md, "Key rings" and "Keyring"."""

from dataclasses import dataclass

from fields import Fields
from primitives import Refused

ACTIVE, INACTIVE = 0, 1


@dataclass(frozen=True)
class NumberedKey:
    number: int
    state: int
    created: int
    key: bytes


@dataclass(frozen=True)
class Keyring:
    masters: list[NumberedKey]
    name_keys: list[NumberedKey]
    journal_keys: list[NumberedKey]
    authority_keys: list[NumberedKey]
    destroyed_masters: list[int]


def decode_keyring(body: bytes) -> Keyring:
    fields = Fields(body)
    fields.schema()
    rings = fields.many(lambda: (fields.u16(), read_ring(fields)))
    roles = [role for role, _ in rings]
    if roles[:4] != [1, 2, 3, 4] or sorted(set(roles)) != roles:
        raise Refused("Malformed")
    keyring = Keyring(*(keys for _, keys in rings[:4]), fields.extensions())
    fields.end()
    return keyring


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
