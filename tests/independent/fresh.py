"""Check of a new vault: content as the program reported it, and no undetected alteration.

The directory holds `vault.clarchive`, `expected.json`, the text `key file` and `auditor`, and the
`passphrase`. Each of the last three opens a slot. The directory `vault`, if it is there, is the
`FileStorage` from which the archive was written. Each check then reads the directory.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from archive import read_archive
from credential import Credential, KeyFile, Passphrase
from directory import read_directory
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
    files = directory / "vault"
    wrong = []
    if files.is_dir():
        if read_directory(files) != storage:
            wrong.append("the directory contains other objects than the archive")
        storage = read_directory(files)
        wrong += undetected_in_directory(files, storage, key_file)
    plain = Walk(storage, key_file).plain
    # The program does not report an entry that only settles another entry.
    reported = [entry for entry in plain["journal"]["entries"] if entry["target"] != 6]
    expected_entries = expected["journal"].pop("entries")
    wrong += differences(expected_entries, reported, "entry")
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


def undetected_in_directory(directory: Path, storage: Storage, credential: Credential) -> list[str]:
    """Lists changes of single files that the reader does not detect.

    A changed byte is also harmless if the reader finds the same objects as before.
    """
    files = [path for path in sorted(directory.rglob("*")) if path.is_file() and is_read(path)]
    names = [path.relative_to(directory) for path in files]
    segments = [name for name in names if name.parent.name == "segments"]
    undetected = ["no segment file"] if not segments else []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "vault"

        def is_detected(name: Path, change: Any) -> bool:
            shutil.rmtree(copy, ignore_errors=True)
            for other in names:
                (copy / other).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(directory / other, copy / other)
            change(copy / name)
            return is_refused(lambda: problems(copy, storage, credential))

        for name in names:
            if not is_detected(name, Path.unlink):
                undetected.append(f"{name} was removed")
            if not is_detected(name, lambda path: path.write_bytes(b"")):
                undetected.append(f"{name} was emptied")
            length = (directory / name).stat().st_size
            for at in range(7, length, max(length // 25, 1)):
                flip = lambda path: path.write_bytes(altered(path.read_bytes(), at))
                if not is_detected(name, flip) and not is_same(copy, storage):
                    undetected.append(f"byte {at} of {name}")
    return undetected


def is_read(path: Path) -> bool:
    """Returns whether a reader of the directory needs a file."""
    return path.name in ("marker", "vault.db", "vault.db-wal") or path.parent.name == "segments"


def problems(directory: Path, storage: Storage, credential: Credential) -> list[str]:
    found = read_directory(directory)
    return [] if found == storage else Walk(found, credential).plain["problems"]


def is_same(directory: Path, storage: Storage) -> bool:
    try:
        return read_directory(directory) == storage
    except Refused:
        return False


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
