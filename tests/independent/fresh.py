"""Check of a new archive: content as the program reported it, and no undetected alteration.

The directory holds `vault.clarchive`, `expected.json`, the text `key file` and `auditor`, and the
`passphrase`. Each of the last three opens a slot.
"""

import json
from pathlib import Path
from typing import Any

from archive import read_archive
from credential import Credential, KeyFile, Passphrase
from primitives import Refused
from summary import Walk
from vault import Storage


def check(directory: Path) -> list[str]:
    archive = (directory / "vault.clarchive").read_bytes()
    expected = json.loads((directory / "expected.json").read_text())
    key_file = KeyFile((directory / "key file").read_bytes())
    auditor = KeyFile((directory / "auditor").read_bytes())
    passphrase = Passphrase((directory / "passphrase").read_bytes())
    storage = read_archive(archive)
    plain = Walk(storage, key_file).plain
    # The program does not report an entry that only settles another entry.
    reported = [entry for entry in plain["journal"]["entries"] if entry["target"] != 6]
    expected_entries = expected["journal"].pop("entries")
    wrong = differences(expected_entries, reported, "entry")
    wrong += differences(expected, plain, "")
    wrong += differences({"problems": []}, plain, "")
    if Walk(storage, passphrase).plain != plain:
        wrong.append("the passphrase opens different content")
    auditors = Walk(storage, auditor).plain
    wrong += differences({"patients": [], "problems": []}, auditors, "auditor")
    if len(auditors["journal"]["entries"]) != len(plain["journal"]["entries"]):
        wrong.append("the auditor reads a different journal")
    return wrong + undetected_in_archive(archive) + undetected_in_storage(storage, key_file)


def differences(expected: Any, found: Any, at: str) -> list[str]:
    """Lists each expected value that was not found. An object may have additional fields."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            difference
            for key, value in expected.items()
            for difference in differences(value, found.get(key), f"{at}/{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found))
        return [
            difference
            for place, (one, other) in pairs
            for difference in differences(one, other, f"{at}/{place}")
        ]
    return [] if expected == found else [f"{at}: {found!r} instead of {expected!r}"]


def undetected_in_archive(archive: bytes) -> list[str]:
    """Lists bytes of the archive whose alteration the reader does not detect."""
    return [
        f"byte {at} of the archive"
        for at in range(0, len(archive), 997)
        if not is_refused(lambda: read_archive(altered(archive, at)))
    ]


def undetected_in_storage(storage: Storage, credential: Credential) -> list[str]:
    """Lists undetected alterations in each object. The storage must contain no upload intents: they are not sealed."""
    undetected = []
    for key, value in storage.items():
        for at in {0, 3, 5, 17, len(value) // 2, len(value) - 17, len(value) - 1}:
            changed = storage | {key: altered(value, at)}
            if not is_refused(lambda: Walk(changed, credential).plain["problems"]):
                undetected.append(f"byte {at} of {key[:1].decode()}{key[1:].hex()}")
    return undetected


def altered(value: bytes, at: int) -> bytes:
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def is_refused(read: Any) -> bool:
    """Returns whether an alteration is detected: by a refusal, or by the reported problems."""
    try:
        problems = read()
        return bool(problems) and isinstance(problems, list)
    except Refused:
        return True
