"""An archive that the program wrote today: it says what the program said, and no change goes unseen.

The directory holds `vault.clarchive`, `expected.json`, the text `key file` and `auditor`, and the
`passphrase`. Each opens a slot.
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
    # Entries that only settle others are not told by themselves.
    told = [entry for entry in plain["journal"]["entries"] if entry["target"] != 6]
    wrong = differences(expected["journal"].pop("told"), told, "entry")
    wrong += differences(expected, plain, "")
    wrong += differences({"problems": []}, plain, "")
    if Walk(storage, passphrase).plain != plain:
        wrong.append("the passphrase shows another vault")
    auditors = Walk(storage, auditor).plain
    wrong += differences({"patients": [], "problems": []}, auditors, "auditor")
    if len(auditors["journal"]["entries"]) != len(plain["journal"]["entries"]):
        wrong.append("the auditor sees another journal")
    return wrong + unseen_in_archive(archive) + unseen_in_storage(storage, key_file)


def differences(expected: Any, found: Any, at: str) -> list[str]:
    """Where what is expected is not found. An object may have more fields than are expected."""
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


def unseen_in_archive(archive: bytes) -> list[str]:
    """Bytes of the archive that can be altered without a reader's noticing."""
    return [
        f"byte {at} of the archive"
        for at in range(0, len(archive), 997)
        if not is_refused(lambda: read_archive(altered(archive, at)))
    ]


def unseen_in_storage(storage: Storage, credential: Credential) -> list[str]:
    """The same of each object; upload intents are not sealed, and not read."""
    unseen = []
    for key, value in storage.items():
        for at in {0, 3, 5, 17, len(value) // 2, len(value) - 17, len(value) - 1}:
            changed = storage | {key: altered(value, at)}
            if not is_refused(lambda: Walk(changed, credential).plain["problems"]):
                unseen.append(f"byte {at} of {key[:1].decode()}{key[1:].hex()}")
    return unseen


def altered(value: bytes, at: int) -> bytes:
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def is_refused(read: Any) -> bool:
    """Whether an alteration is noticed: by a refusal, or by the problems that are named."""
    try:
        problems = read()
        return bool(problems) and isinstance(problems, list)
    except Refused:
        return True
