"""Vault reader, for a storage without concurrent writers: format.md, "Reading"."""

from dataclasses import dataclass

from credential import Credential
from entry import ALIAS, LIVE, Chart, Entry, Subject, open_entry, subject_tag
from header import Header, Steps, parse_header, unlock
from keyring import Keyring
from primitives import Refused
from record import (
    CURRENT, EARLIER, LAST_VERSION, RETRACTION, SEGMENTED, Place, Version, open_head, open_version,
    record_tag,
)
from stream import read_stream

Storage = dict[bytes, bytes]


@dataclass(frozen=True)
class Vault:
    storage: Storage
    header: Header
    keyring: Keyring
    steps: Steps


def open_vault(storage: Storage, credential: Credential) -> Vault:
    header = read_header(storage)
    unlocked = unlock(header, credential)
    return Vault(storage, header, unlocked.keyring, unlocked.steps)


def read_header(storage: Storage) -> Header:
    if b"v" not in storage:
        raise Refused("NoVault")
    return parse_header(storage[b"v"])


def find_entry(vault: Vault, subject: Subject) -> tuple[Entry, Steps] | None:
    """Finds the entry of a subject, if the subject was ever seen: "Finding a subject"."""
    for name_key in vault.keyring.name_keys:
        ptag = subject_tag(name_key.key, subject)
        value = vault.storage.get(b"p" + ptag)
        if value is not None:
            entry, steps = open_entry(value, vault.header, vault.keyring, ptag)
            return entry, [("name key", name_key.key), ("ptag", ptag)] + steps
    return None


def live_chart(entry: Entry) -> Chart:
    if entry.state == ALIAS:
        raise Refused("Unsupported")
    if entry.state != LIVE:
        raise Refused("Erased")
    return entry.charts[0]


def read_record(
    vault: Vault, chart: Chart, name: str, version: int | None
) -> tuple[Version | None, Steps]:
    """Returns the given or the current version of a record; `None` if the version does not exist."""
    rtag = record_tag(chart.name_key, name)
    opened = find_version(vault, chart, rtag, name, version)
    steps = [("patient name key", chart.name_key), ("rtag", rtag)]
    return opened, steps + (opened.steps if opened else [])


def find_version(
    vault: Vault, chart: Chart, rtag: bytes, name: str, wanted: int | None
) -> Version | None:
    storage, record = vault.storage, chart.id + rtag
    value = storage.get(CURRENT + record)
    if value is None:
        if any(is_earlier(key, record) for key in storage):
            raise Refused("CurrentMissing")
        return None
    current = Place(chart, rtag, CURRENT)
    if wanted is None:
        return open_version(value, current, name)
    last = open_head(value, current).version
    if wanted == last:
        return open_version(value, current, name)
    if not 1 <= wanted < last:
        return None
    if wanted <= expunged_up_to(vault, chart, rtag, name, last):
        return None
    earlier = storage.get(EARLIER + record + wanted.to_bytes(8, "big"))
    if earlier is None:
        raise Refused("HistoryGap")
    return open_version(earlier, Place(chart, rtag, EARLIER, wanted), name)


def is_earlier(key: bytes, record: bytes) -> bool:
    """Returns whether a storage key belongs to an earlier version of a record."""
    is_record = len(key) == 41 and key.startswith(EARLIER + record)
    return is_record and 1 <= int.from_bytes(key[33:], "big") <= LAST_VERSION


def expunged_up_to(vault: Vault, chart: Chart, rtag: bytes, name: str, last: int) -> int:
    """Returns the number of the last expunged version, or 0. `last` is the current version."""
    record = chart.id + rtag
    value = vault.storage[CURRENT + record]
    try:
        return open_version(value, Place(chart, rtag, CURRENT), name).meta.expunged_up_to
    except Refused as refused:
        if value[2] == RETRACTION:
            raise
        if last == 1:
            return 0
        before = vault.storage.get(EARLIER + record + (last - 1).to_bytes(8, "big"))
        if before is None:
            raise
        place = Place(chart, rtag, EARLIER, last - 1)
        try:
            return open_version(before, place, name).meta.expunged_up_to
        except Refused:
            raise refused from None


def content_of(vault: Vault, chart: Chart, version: Version) -> tuple[bytes | None, Steps]:
    """Returns the content of a version; a retraction has none."""
    if version.head.kind == RETRACTION:
        return None, []
    if version.head.kind == SEGMENTED:
        return read_stream(vault.storage, chart, version)
    return version.content, []


def history(vault: Vault, chart: Chart, rtag: bytes) -> list[Version]:
    """Returns the versions of a record from its last expunged marker on, oldest first: "The history"."""
    record = chart.id + rtag
    value = vault.storage.get(CURRENT + record)
    if value is None:
        raise Refused("CurrentMissing")
    current = open_version(value, Place(chart, rtag, CURRENT), None)
    versions = [current]
    for number in range(current.head.version - 1, current.meta.expunged_up_to, -1):
        earlier = vault.storage.get(EARLIER + record + number.to_bytes(8, "big"))
        if earlier is None:
            raise Refused("HistoryGap")
        versions.append(open_version(earlier, Place(chart, rtag, EARLIER, number), None))
    return versions[::-1]


def entries(vault: Vault) -> list[Entry]:
    """Opens every patient entry, in the order of the storage keys."""
    opened = (
        open_entry(value, vault.header, vault.keyring, key[1:])
        for key, value in vault.storage.items()
        if len(key) == 17 and key.startswith(b"p")
    )
    return [entry for entry, _ in opened]


def record_tags(vault: Vault, chart: Chart) -> list[bytes]:
    """Returns the tags of all records of a chart, including those without a current version."""
    tags = {
        key[17:33]
        for key in vault.storage
        if (len(key), key[:1]) in ((33, CURRENT), (41, EARLIER)) and key[1:17] == chart.id
    }
    return sorted(tags)
