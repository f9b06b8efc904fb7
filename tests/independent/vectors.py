"""Vector checker, which compares each vector with its own description: format.md, "Vectors"."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from archive import read_archive
from coverage import KEY as COVERAGE, open_coverage
from credential import Both, Credential, KeyFile, Passphrase, device
from entry import ORGANIZATION, PATIENT, Subject
from header import Steps, open_auditor
from journal import PageId, journal_keys, open_page, read_journal, unsettled
from primitives import Refused
from shares import combine
from vault import (
    Vault, content_of, find_entry, live_chart, open_vault, read_header, read_record,
)

OPENS = ("ok", "none", "Erased")


@dataclass
class Outcome:
    what: str = "none"
    content: bytes | None = None
    steps: Steps = field(default_factory=list)
    unsettled: int | None = None


def check_all(directory: Path) -> tuple[int, list[str]]:
    """Returns the number of vectors, and their differences."""
    files = sorted(directory.rglob("*.clarchive"))
    wrong = [f"{file.stem}: {what}" for file in files for what in check(file)]
    return len(files), wrong


def check(file: Path) -> list[str]:
    objects = read_archive(file.read_bytes())
    about = {key[1:].decode(): value for key, value in objects.items() if key.startswith(b"#")}
    storage = {key: value for key, value in objects.items() if not key.startswith(b"#")}
    expected = about["expect"].decode()
    outcome = Outcome()
    try:
        ask(about, storage, outcome)
    except Refused as refused:
        outcome.what = refused.failure
    wrong = []
    if outcome.what != expected:
        wrong.append(f"{outcome.what} instead of {expected}")
    if not same_content(about, outcome):
        wrong.append("different content")
    if outcome.unsettled != (int(about["unsettled"]) if "unsettled" in about else None):
        wrong.append("a different number of unsettled entries")
    if expected in OPENS and numbered(outcome.steps) != noted(about):
        wrong.append("different steps")
    if "archive" not in about and journal_key(about, storage) != about.get("journal key"):
        wrong.append("a different journal key")
    return wrong


def ask(about: dict[str, bytes], storage: dict[bytes, bytes], outcome: Outcome) -> None:
    """Reads what the vector requests; `outcome` keeps the results from before a failure."""
    if "archive" in about:
        read_archive(about["archive"])
        return
    if "page" in about or "journal" in about:
        ask_journal(about, storage, outcome)
        return
    vault = open_vault(storage, credential(about))
    outcome.steps += vault.steps
    if "coverage" in about:
        ask_coverage(vault, outcome)
        return
    subject = requested_subject(about)
    found = find_entry(vault, subject) if subject else None
    if found is None:
        return
    entry, steps = found
    outcome.steps += steps
    chart = live_chart(entry)
    if "record" not in about:
        return
    wanted = int(about["version"]) if "version" in about else None
    version, steps = read_record(vault, chart, about["record"].decode(), wanted)
    outcome.steps += steps
    if version is None:
        return
    content, steps = content_of(vault, chart, version)
    outcome.steps += steps
    if content is not None:
        outcome.what, outcome.content = "ok", content


def ask_journal(about: dict[str, bytes], storage: dict[bytes, bytes], outcome: Outcome) -> None:
    """Reads one journal page, or the whole journal."""
    header = read_header(storage)
    keys, outcome.steps = journal_keys(header, credential(about))
    if "journal" in about:
        journal = read_journal(storage, header.vault, keys)
        faults = sorted({fault.fault for fault in journal.faults})
        outcome.what = " ".join(faults) or "ok"
        outcome.unsettled = len(unsettled(journal)) if not faults else None
        return
    at = about["page"]
    value = storage.get(b"j" + at)
    if value is not None:
        id = PageId(at[:16], int.from_bytes(at[16:], "big"))
        page = open_page(value, header.vault, keys, id)
        outcome.steps += page.steps
        outcome.what, outcome.content = "ok", json.dumps(page.plain()).encode()


def ask_coverage(vault: Vault, outcome: Outcome) -> None:
    """Opens the covered chain heads."""
    value = vault.storage.get(COVERAGE)
    if value is None:
        return
    coverage = open_coverage(value, vault.header.vault, vault.keyring.authority_keys)
    outcome.steps += coverage.steps
    if coverage.is_used(vault.storage):
        plain = coverage.plain(vault.storage)
        outcome.what, outcome.content = "ok", json.dumps(plain).encode()


def same_content(about: dict[str, bytes], outcome: Outcome) -> bool:
    expected = about.get("content")
    if expected is None or outcome.content is None or not is_json(about):
        return outcome.content == expected
    return json.loads(outcome.content) == json.loads(expected)


def is_json(about: dict[str, bytes]) -> bool:
    return "page" in about or "coverage" in about


def credential(about: dict[str, bytes]) -> Credential:
    if "credential shares" in about:
        return combine(about["credential shares"].decode().split("\n\n"))
    if "credential device" in about:
        return device(about["credential device"])
    passphrase, key_file = about.get("credential passphrase"), about.get("credential key file")
    if passphrase is None:
        return KeyFile(key_file)
    return Passphrase(passphrase) if key_file is None else Both(KeyFile(key_file), Passphrase(passphrase))


def requested_subject(about: dict[str, bytes]) -> Subject | None:
    for kind, key in ((PATIENT, "subject patient"), (ORGANIZATION, "subject practice")):
        if key in about:
            return Subject(kind, about[key].decode())
    return None


def journal_key(about: dict[str, bytes], storage: dict[bytes, bytes]) -> bytes | None:
    """Returns the journal key of the credential's auditor slot."""
    try:
        keys, _ = open_auditor(read_header(storage), credential(about))
        return next(iter(keys.values()))
    except Refused:
        return None


def numbered(steps: Steps) -> dict[str, bytes]:
    return {f"step {number:02} {what}": value for number, (what, value) in enumerate(steps, 1)}


def noted(about: dict[str, bytes]) -> dict[str, bytes]:
    return {key: value for key, value in about.items() if key.startswith("step ")}
