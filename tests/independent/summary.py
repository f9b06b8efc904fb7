"""Summary of the parts of an archive that a credential opens, as a structure of plain values."""

from datetime import UTC, datetime, timedelta
from typing import Any

from coverage import KEY as COVERAGE, open_coverage
from credential import Credential
from entry import LIVE, Chart, Entry, open_entry
from header import Header
from journal import (
    OPERATIONS, OUTCOMES, Fault, Journal, Target, journal_keys, name_tag, read_journal,
    subject_tag, unsettled,
)
from primitives import Refused, sha256
from record import HONEYTOKEN, Version
from vault import Storage, Vault, content_of, history, open_vault, read_header, record_tags

Plain = dict[str, Any]
KINDS = {1: "inline", 2: "segmented", 3: "retraction"}
STATES = ["live", "erasing", "erased", "alias"]
SUBJECTS = {1: "patient", 2: "practice"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Walk:
    """Walk over a whole vault that continues after a refusal; `problems` lists refusals."""

    def __init__(self, storage: Storage, credential: Credential):
        header = read_header(storage)
        keys, _ = journal_keys(header, credential)
        is_auditor = keys.authority is None
        self.vault = None if is_auditor else open_vault(storage, credential)
        journal = read_journal(storage, header.vault, keys)
        self.problems = [plain_fault(fault) for fault in journal.faults]
        self.check_coverage(storage)
        self.journaled = {
            entry.target.digest for page in journal.all_pages().values() for entry in page.entries
        }
        self.names: set[str] = set()
        # Patients first, because their names resolve the tags in the journal.
        entries = self.entries(self.vault) if self.vault else []
        patients = [self.patient(sha256(value), entry) for value, entry in entries]
        self.plain: Plain = {
            "vault": plain_header(header)
            | self.in_journal(sha256(storage[b"v"]))
            | {"slot_names": plain_slot_names(self.vault)},
            "patients": sorted(patients, key=lambda patient: patient["identifier"]),
            "journal": self.journal(journal, keys.first(), [entry for _, entry in entries]),
            "problems": self.problems,
        }

    def check_coverage(self, storage: Storage) -> None:
        """Opens the covered chain heads, which only a holder of the authority key can."""
        value = storage.get(COVERAGE)
        if value is None or self.vault is None:
            return
        try:
            open_coverage(value, self.vault.header.vault, self.vault.keyring.authority_keys)
        except Refused as refused:
            self.problems.append(f"the covered chain heads: {refused.failure}")

    def in_journal(self, digest: bytes) -> Plain:
        """Returns whether a journal entry references this digest."""
        return {"in_journal": digest in self.journaled}

    def entries(self, vault: Vault) -> list[tuple[bytes, Entry]]:
        opened = []
        for key, value in vault.storage.items():
            if len(key) == 17 and key.startswith(b"p"):
                try:
                    entry, _ = open_entry(value, vault.header, vault.keyring, key[1:])
                    opened.append((value, entry))
                except Refused as refused:
                    self.problems.append(f"a patient entry: {refused.failure}")
        return opened

    def patient(self, digest: bytes, entry: Entry) -> Plain:
        chart = entry.charts[0] if entry.state == LIVE else None
        return {
            "kind": SUBJECTS[entry.subject.kind],
            "identifier": entry.subject.identifier,
            "state": STATES[entry.state],
            "sequence": entry.sequence,
            "chart": chart.id.hex() if chart else None,
            "keys": len(chart.keys) if chart else 0,
            "retired_keys": len(entry.destroyed_keys),
            "dead_charts": len(entry.dead_charts),
            "holds": [{"id": hold.id, "reason": hold.reason} for hold in entry.holds],
            "retention": entry.retention,
            "records": self.records(chart) if chart else [],
        } | self.in_journal(digest)

    def records(self, chart: Chart) -> list[Plain]:
        assert self.vault is not None
        found = []
        for rtag in record_tags(self.vault, chart):
            try:
                versions = history(self.vault, chart, rtag)
                name = versions[-1].meta.name
                self.names.add(name)
                plain = [self.version(self.vault, chart, version) for version in versions]
                found.append({"name": name, "versions": plain})
            except Refused as refused:
                self.problems.append(f"a record: {refused.failure}")
        return sorted(found, key=lambda record: record["name"])

    def version(self, vault: Vault, chart: Chart, version: Version) -> Plain:
        content, _ = content_of(vault, chart, version)
        found = {
            "version": version.head.version,
            "kind": KINDS[version.head.kind],
            "written_at": version.meta.written_at,
            "content_type": version.meta.content_type,
            "labels": version.meta.labels,
            "poison": HONEYTOKEN in version.meta.extensions,
            "marker": version.is_marker,
            "digest": version.digest.hex(),
        }
        if content is not None:
            found |= {"length": len(content), "sha256": sha256(content).hex()}
        return found | self.in_journal(version.digest)

    def journal(self, journal: Journal, tag_key: bytes, patients: list[Entry]) -> Plain:
        known = {
            subject_tag(tag_key, entry.subject): entry.subject.identifier for entry in patients
        } | {name_tag(tag_key, name): name for name in self.names}
        entries = [
            {"page_writer": id.writer.hex(), "page": id.sequence, "index": index}
            | entry.plain()
            | read
            | names_of(entry.target, read, known)
            for id, page in sorted(journal.pages.items())
            for index, entry in enumerate(page.entries)
            for read in each_record(entry.target)
        ]
        return {
            "chains": len({id.writer for id in journal.pages}),
            "pages": len(journal.pages),
            "seen": sum(len(page.seen) for page in journal.pages.values()),
            "entries": entries,
            "unsettled": len(unsettled(journal)),
        }


def each_record(target: Target) -> list[Plain]:
    """Returns the fields of each record that an entry lists, and no fields once if it lists none."""
    return [{}] if target.read is None else target.read


def names_of(target: Target, read: Plain, known: dict[bytes, str]) -> Plain:
    """Returns the identifier and the record name, if the vault contains them."""
    listed = bytes.fromhex(read["jnam"]) if "jnam" in read else None
    tags = {"identifier": target.jsub, "name": target.jnam or listed}
    return {what: known[tag] for what, tag in tags.items() if tag in known}


def plain_fault(fault: Fault) -> str:
    return f"page {fault.page.sequence} of chain {fault.page.writer.hex()}: {fault.fault}"


def plain_header(header: Header) -> Plain:
    return {
        "id": header.vault.hex(),
        "suite": header.suite,
        "generation": header.generation,
        "slot_kinds": [slot.kind for slot in header.slots],
    }


def plain_slot_names(vault: Vault | None) -> list[Plain]:
    """Returns the slots with a creation time, by id. An auditor sees none."""
    names = vault.keyring.slot_names if vault else {}
    return [
        {"id": id, "created": created, "label": label or None}
        for id, (created, label) in sorted(names.items())
    ]


def readable(plain: Plain) -> str:
    """Formats the summary as readable lines."""
    vault, journal = plain["vault"], plain["journal"]
    lines = [f"vault {vault['id']}, suite {vault['suite']}, generation {vault['generation']}"]
    for patient in plain["patients"]:
        lines.append(f"{patient['kind']} {patient['identifier']}: {patient['state']}")
        lines += [f"  hold {hold['id']}: {hold['reason']}" for hold in patient["holds"]]
        for record in patient["records"]:
            lines.append(f"  {record['name']}")
            lines += [
                f"    {version['version']}: {version['kind']}, {version.get('length', 0)} bytes"
                f", {version['content_type']}, {time(version['written_at'])}"
                for version in record["versions"]
            ]
    lines.append(f"journal: {journal['pages']} pages, {journal['unsettled']} entries unsettled")
    for entry in journal["entries"]:
        about = [str(entry[what]) for what in ("identifier", "name", "version") if what in entry]
        stage = ["", ", announced"][entry["stage"]]
        texts = "; ".join(entry[text] for text in ("reason", "consent", "note") if entry.get(text))
        lines.append(
            f"  {time(entry['at'])} {entry['actor']} ({entry['purpose']})"
            f": {OPERATIONS[entry['operation']]} {' '.join(about)}"
            f": {OUTCOMES[entry['outcome']]}{stage} {texts}".rstrip()
        )
    return "\n".join(lines + [f"PROBLEM: {problem}" for problem in plain["problems"]])


def time(millis: int) -> str:
    """Formats a time as a calendar date, or as a number if the time is beyond the calendar."""
    try:
        return (EPOCH + timedelta(milliseconds=millis)).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"{millis} ms"
