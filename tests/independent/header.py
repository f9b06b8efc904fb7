"""Header decoder: format.md, "Vault header" and "Slots"."""

from dataclasses import dataclass

from credential import Credential
from fields import Fields
from keyring import Keyring, decode_keyring
from primitives import (
    AEADS, FORMAT, TAG_LENGTH, Refused, equal, expand, key_and_commitment, open_sealed, sha256, u16,
    u32,
)

MAGIC = bytes.fromhex("89434C4B0D0A1A0A")
FIXED_LENGTH = 36
MOST_SLOTS = 16
SLOT_TAIL, LONGEST_SLOT = 112, 4_096
LONGEST_KEYRING = 1_048_576
MOST_FORMER_KEYS = 1_024
AUDITOR = 0x8000

Steps = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Slot:
    kind: int
    id: int
    parameters: bytes
    salt: bytes
    commitment: bytes
    wrapped: bytes


@dataclass(frozen=True)
class Header:
    suite: int
    vault: bytes
    generation: int
    slots: list[Slot]
    journal_key_number: int
    former_keys: list[tuple[int, bytes]]
    frame: bytes
    salt: bytes
    commitment: bytes
    sealed: bytes


@dataclass(frozen=True)
class Unlocked:
    keyring: Keyring
    steps: Steps


def parse_header(value: bytes) -> Header:
    if len(value) < FIXED_LENGTH or not value.startswith(MAGIC):
        raise Refused("Malformed")
    fields = Fields(value)
    fields.take(len(MAGIC))
    if fields.u16() != FORMAT:
        raise Refused("Unsupported")
    suite, slot_count = fields.u8(), fields.u8()
    vault, generation = fields.take(16), fields.u64()
    if not 1 <= slot_count <= MOST_SLOTS:
        raise Refused("Malformed")
    slots: list[Slot] = []
    for _ in range(slot_count):
        slot = parse_slot(fields)
        if any(slot.id == earlier.id for earlier in slots):
            raise Refused("Malformed")
        slots.append(slot)
    active, former_count = fields.u32(), fields.u16()
    if former_count > MOST_FORMER_KEYS:
        raise Refused("Malformed")
    former = [(fields.u32(), fields.take(48)) for _ in range(former_count)]
    if len({active, *(number for number, _ in former)}) <= former_count:
        raise Refused("Malformed")
    frame = value[: fields.at]
    salt, commitment, length = fields.take(32), fields.take(32), fields.u32()
    if length > LONGEST_KEYRING:
        raise Refused("Malformed")
    sealed = fields.take(length + TAG_LENGTH)
    fields.end()
    if suite not in AEADS:
        raise Refused("Unsupported")
    return Header(
        suite, vault, generation, slots, active, former, frame, salt, commitment, sealed
    )


def parse_slot(fields: Fields) -> Slot:
    kind, id, length = fields.u16(), fields.u16(), fields.u32()
    if not SLOT_TAIL <= length <= LONGEST_SLOT:
        raise Refused("Malformed")
    parameters = fields.take(length - SLOT_TAIL)
    return Slot(kind, id, parameters, fields.take(32), fields.take(32), fields.take(48))


def unlock(header: Header, credential: Credential) -> Unlocked:
    """Opens the keyring: "Order of checks when a credential unlocks"."""
    slot_opened = False
    for slot in header.slots:
        if slot.kind != credential.kind:
            continue
        opened = open_slot(header, slot, credential)
        if opened is None:
            continue
        root, steps = opened
        info = b"cl1/ring" + header.salt + sha256(header.frame)
        key, commitment = key_and_commitment(root, info)
        if not equal(commitment, header.commitment):
            slot_opened = True
            continue
        body = open_sealed(header.suite, key, header.sealed, failure="HeaderDamaged")
        steps += [
            ("root key", root),
            ("ring key", key),
            ("ring commitment", commitment),
            ("keyring body", body),
        ]
        return Unlocked(decode_keyring(body), steps)
    raise Refused("HeaderDamaged" if slot_opened else "WrongKey")


def open_auditor(header: Header, credential: Credential) -> tuple[dict[int, bytes], Steps]:
    """Opens the journal keys: "Order of checks when a credential unlocks the journal alone"."""
    for slot in header.slots:
        if slot.kind == credential.kind + AUDITOR:
            opened = open_slot(header, slot, credential)
            if opened is not None:
                active, steps = opened
                return unwrap_former_keys(header, active), steps
    raise Refused("WrongKey")


def unwrap_former_keys(header: Header, active: bytes) -> dict[int, bytes]:
    """Returns all journal keys by number, the active key first."""
    successor = header.journal_key_number
    keys = {successor: active}
    for number, wrapped in header.former_keys:
        info = b"cl1/jfmr" + header.vault + u32(successor) + u32(number)
        wrapping = expand(keys[successor], info, 32)
        keys[number] = open_sealed(header.suite, wrapping, wrapped, failure="HeaderDamaged")
        successor = number
    return keys


def open_slot(header: Header, slot: Slot, credential: Credential) -> tuple[bytes, Steps] | None:
    """Returns the key that the slot wraps, if the credential opens the slot."""
    secret = credential.secret(slot.parameters)
    if secret is None:
        return None
    info = (
        b"cl1/slot" + header.vault + u16(slot.kind) + u16(slot.id)
        + bytes([header.suite, 0, 0, 0]) + slot.salt + sha256(slot.parameters)
    )
    key, commitment = key_and_commitment(secret, info)
    if not equal(commitment, slot.commitment):
        return None
    try:
        held = open_sealed(header.suite, key, slot.wrapped)
    except Refused:
        return None
    steps = [("slot secret", secret), ("slot key", key), ("slot commitment", commitment)]
    return held, steps
