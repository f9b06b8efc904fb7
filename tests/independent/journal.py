"""Journal reader, for pages and their chains: format.md, "Journal page"."""

from collections import defaultdict
from dataclasses import dataclass, fields as fields_of, replace
from typing import Any

from credential import Credential
from entry import Subject
from fields import Fields, listed
from header import Header, Steps, open_auditor, unlock
from keyring import Closing, NumberedKey, by_number
from primitives import Refused, equal, expand, sha256, tag16, u64
from sealed import check_length, key_number, open_body

BY_VAULT, BY_AUDITOR = 18, 19
AUTHORITY_TAIL = 36
READ_THE_JOURNAL = 35
AUDITORS_SLOT = 0x8000
# The count of a filter of a page that may be about any subject.
ANY_SUBJECT = 0xFFFF
FILTER_COUNTS = [2**exponent for exponent in range(2, 13)]
# Operations that concern every subject: list subjects, accept a restore.
ABOUT_ALL = (10, 34)
DONE, ANNOUNCED = 0, 1
# The extension of a page with summaries of archived pages.
SUMMARIES = 0x8001
# The smallest first byte of a writer id that marks a chain of summaries.
MARK_OF_SUMMARIES = 0xC0
OPERATIONS = {
    1: "create the vault", 2: "open", 3: "lock", 4: "make writable", 5: "write a version",
    6: "retract a record", 7: "read", 8: "list versions", 9: "list records",
    10: "list subjects", 11: "erase a subject", 12: "reopen a chart",
    13: "expunge a record", 14: "place a hold", 15: "lift a hold", 16: "set a retention",
    17: "inspect holds, retention", 18: "prepare a patient entry",
    19: "rotate the master key", 20: "destroy a master key", 21: "rotate a patient key",
    22: "destroy a patient key", 23: "re-encrypt", 24: "rotate the root key",
    25: "add a slot", 26: "replace a slot", 27: "remove a slot", 28: "list the slots",
    29: "count key usage", 30: "collect garbage", 31: "export a recovery kit",
    32: "verify", 33: "make a checkpoint", 34: "accept a restore", 35: "read the journal",
    36: "break the glass", 37: "begin a journal fallback", 38: "end a journal fallback",
    39: "mark a honeytoken", 40: "disclose", 41: "begin a backup", 42: "end a backup",
    43: "restore a recovery kit",
    44: "rotate the journal keys", 45: "close former journal keys",
    46: "bring journal pages home", 47: "plan a restore", 48: "archive journal pages", 60: "try a credential",
}
OUTCOMES = ["done", "nothing there", "denied", "not authentic", "refused", "failed"]
TARGETS = range(14)
MOST_RECORDS = 1024
LAST_TIME = 2**63 - 1
OWN_FAULTS = {name: name for name in ("Unsupported", "Forged", "UnknownJournalKey")}


@dataclass(frozen=True, order=True)
class PageId:
    writer: bytes
    sequence: int


@dataclass(frozen=True)
class JournalKeys:
    """Keys that open pages, by number, the active one first. An auditor has no authority keys, so
    `authority` is None. `closings` are those of the former keys."""

    keys: dict[int, bytes]
    authority: list[NumberedKey] | None
    closings: list[Closing]

    def first(self) -> bytes:
        """Returns the key that derives the tags of subjects and names."""
        return list(self.keys.values())[-1]

    def closed(self) -> set[int]:
        former = list(self.keys)[1:]
        return {number for number, heads in zip(former, self.closings) if heads is not None}


@dataclass(frozen=True)
class Context:
    actor: str
    purpose: str
    request: str
    organisation: str
    broke_glass: bool


@dataclass(frozen=True)
class Target:
    """Target of a journal entry; each code has some of the fields."""

    target: int
    generation: int | None = None
    chart: bytes | None = None
    jsub: bytes | None = None
    sequence: int | None = None
    rtag: bytes | None = None
    jnam: bytes | None = None
    version: int | None = None
    digest: bytes | None = None
    digest_before: bytes | None = None
    writer: bytes | None = None
    place: int | None = None
    fault: int | None = None
    page: int | None = None
    pages: int | None = None
    slot: int | None = None
    kind: int | None = None
    master_key: int | None = None
    until: int | None = None
    hold: int | None = None
    read: list[dict[str, Any]] | None = None

    def announced(self) -> tuple[PageId, int] | None:
        """Returns the page and the index of the entry that this entry settles."""
        if self.writer is None or self.sequence is None or self.place is None:
            return None
        return PageId(self.writer, self.sequence), self.place


@dataclass(frozen=True)
class JournalEntry:
    at: int
    context: Context
    operation: int
    outcome: int
    stage: int
    target: Target
    reason: str | None
    consent: str | None
    note: str | None

    def plain(self) -> dict[str, Any]:
        plain = plain_fields(self) | vars(self.context) | plain_fields(self.target)
        del plain["context"]
        return plain


@dataclass(frozen=True)
class Page:
    previous: bytes
    began: int
    latest: int
    subjects: list[tuple[bytes, bytes]]
    seen: list[tuple[PageId, bytes]]
    entries: list[JournalEntry]
    key_number: int
    kind: int
    steps: Steps
    # The places of the entries on the archived page, if a summary contains this page.
    indexes: list[int] | None = None
    summaries: "Summaries | None" = None

    def plain(self) -> dict[str, Any]:
        return {
            "previous": self.previous.hex(),
            "began": self.began,
            "latest": self.latest,
            "seen": [plain_fields(id) | {"digest": digest.hex()} for id, digest in self.seen],
            "entries": [entry.plain() for entry in self.entries],
        } | ({} if self.summaries is None else {"summaries": self.summaries.plain()})


@dataclass(frozen=True)
class Summary:
    """Summary of an archived page, with the digest of the page's value."""

    id: PageId
    digest: bytes
    page: Page

    def plain(self) -> dict[str, Any]:
        return plain_fields(self.id) | {
            "digest": self.digest.hex(),
            "kind": self.page.kind,
            "indexes": self.page.indexes,
            "page": self.page.plain(),
        }


@dataclass(frozen=True)
class Summaries:
    until: int
    pages: list[Summary]

    def plain(self) -> dict[str, Any]:
        return {"until": self.until, "pages": [page.plain() for page in self.pages]}


@dataclass(frozen=True)
class Fault:
    """Fault of a page, or of a chain from a page on."""

    fault: str
    page: PageId


@dataclass(frozen=True)
class Journal:
    pages: dict[PageId, Page]
    faults: list[Fault]
    # The archived pages, as their summaries have them.
    archived: dict[PageId, Summary]

    def all_pages(self) -> dict[PageId, Page]:
        """Returns the stored pages, and the archived pages as their summaries have them."""
        return self.pages | {id: summary.page for id, summary in self.archived.items()}


def plain_fields(structure: Any) -> dict[str, Any]:
    """Returns the fields that have a value; bytes as hexadecimal digits."""
    values = {field.name: getattr(structure, field.name) for field in fields_of(structure)}
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in values.items()
        if value is not None
    }


def subject_tag(journal_key: bytes, subject: Subject) -> bytes:
    return tag16(journal_key, b"cl1/jsub" + bytes([subject.kind]), subject.identifier)


def name_tag(journal_key: bytes, name: str) -> bytes:
    return tag16(journal_key, b"cl1/jnam", name)


def journal_keys(header: Header, credential: Credential) -> tuple[JournalKeys, Steps]:
    """Returns the journal keys of the keyring, or those of an auditor if no keyring opens."""
    try:
        unlocked = unlock(header, credential)
    except Refused as refused:
        if refused.failure != "WrongKey":
            raise
        keys, steps = open_auditor(header, credential)
        return JournalKeys(keys, None, []), steps
    keyring = unlocked.keyring
    keys = {key.number: key.key for key in keyring.journal_keys}
    return JournalKeys(keys, keyring.authority_keys, keyring.closings), unlocked.steps


def open_page(value: bytes, vault: bytes, keys: JournalKeys, page: PageId) -> Page:
    """Opens the page under the storage key that contains `page`."""
    kind = BY_AUDITOR if value[2:3] == bytes([BY_AUDITOR]) else BY_VAULT
    number = key_number(value, kind)
    key = keys.keys.get(number)
    if key is None:
        raise Refused("UnknownJournalKey")
    filter = read_filter(value)
    check_length(value, len(filter))
    place = vault + page.writer + u64(page.sequence)
    opened = open_body(value, key, b"cl1/jrnl", place, filter)
    steps = [
        ("journal key", key),
        ("page key", opened.key),
        ("page commitment", opened.commitment),
        ("page body", opened.body[:4096]),
    ]
    body = opened.body
    if kind == BY_VAULT:
        body = signed_body(value[: 72 + len(filter)], body, place, keys.authority)
    decoded = decode_page(body, kind, number, steps)
    if kind == BY_AUDITOR and not may_be_of_auditor(decoded):
        raise Refused("Forged")
    if not is_complete(filter, decoded, key, value[8:40]):
        raise Refused("Malformed")
    return decoded


def read_filter(value: bytes) -> bytes:
    """Returns the filter's bytes, with the count."""
    fields = Fields(value)
    fields.take(72)
    count = fields.u16()
    if count == ANY_SUBJECT:
        return value[72:74]
    if count not in FILTER_COUNTS:
        raise Refused("Malformed")
    values = [fields.u16() for _ in range(count)]
    if any(one >= next for one, next in zip(values, values[1:])):
        raise Refused("Malformed")
    return value[72 : fields.at]


def filter_value(key: bytes, salt: bytes, jsub: bytes) -> bytes:
    return expand(key, b"cl1/jflt" + salt + jsub, 2)


def is_complete(filter: bytes, page: "Page", key: bytes, salt: bytes) -> bool:
    """Returns true if the filter contains each value that it must contain."""
    if filter == ANY_SUBJECT.to_bytes(2, "little"):
        return True
    jsubs = {jsub for _, jsub in page.subjects}
    if page.seen or any(entry.operation in ABOUT_ALL for entry in page.entries):
        jsubs.add(bytes(16))
    values = {filter[at : at + 2] for at in range(2, len(filter), 2)}
    return all(filter_value(key, salt, jsub) in values for jsub in jsubs)


def signed_body(
    before: bytes, body: bytes, place: bytes, authority: list[NumberedKey] | None
) -> bytes:
    """Checks the authority tag at the end of a body, and returns the body before it."""
    if len(body) < AUTHORITY_TAIL:
        raise Refused("Malformed")
    if authority is not None:
        signed, tag = body[:-32], body[-32:]
        key = by_number(authority, int.from_bytes(signed[-4:], "little"))
        if key is None:
            raise Refused("Forged")
        info = b"cl1/auth" + place + sha256(before + signed)
        if not equal(expand(key, info, 32), tag):
            raise Refused("Forged")
    return body[:-AUTHORITY_TAIL]


def may_be_of_auditor(page: Page) -> bool:
    return not page.seen and page.summaries is None and all(
        entry.operation == READ_THE_JOURNAL and is_of_auditor(entry.target) for entry in page.entries
    )


def is_of_auditor(target: Target) -> bool:
    return target.target in (0, 2) or (target.target == 8 and target.kind & AUDITORS_SLOT != 0)


def decode_page(body: bytes, kind: int, key_number: int, steps: Steps) -> Page:
    fields = Fields(body)
    fields.schema()
    page = read_content(fields, kind, key_number, steps)
    found: list[Summaries] = []
    read = lambda content: found.append(read_summaries(content, key_number))
    fields.extensions(has_destroyed=False, critical={SUMMARIES: read})
    fields.end()
    return replace(page, summaries=found[0] if found else None)


def read_summaries(content: bytes, key_number: int) -> Summaries:
    fields = Fields(content)
    until = fields.i64()
    pages = fields.many(lambda: read_summary(fields, key_number))
    fields.end()
    return Summaries(until, pages)


def read_summary(fields: Fields, key_number: int) -> Summary:
    id, digest, kind = read_page_id(fields), fields.take(32), fields.u8()
    if kind not in (BY_VAULT, BY_AUDITOR):
        raise Refused("Malformed")
    indexes = fields.many(fields.u32)
    page = read_content(fields, kind, key_number, [])
    is_ascending = all(one < next for one, next in zip(indexes, indexes[1:]))
    if not is_ascending or len(indexes) != len(page.entries):
        raise Refused("Malformed")
    return Summary(id, digest, replace(page, indexes=indexes))


def read_content(fields: Fields, kind: int, key_number: int, steps: Steps) -> Page:
    """Reads a page up to its extensions."""
    previous, began, latest = fields.take(32), fields.i64(), fields.i64()
    seen = fields.many(lambda: (read_page_id(fields), fields.take(32)))
    contexts = fields.many(lambda: read_context(fields))
    subjects = fields.many(lambda: (fields.take(16), fields.take(16)))
    if len(set(subjects)) != len(subjects):
        raise Refused("Malformed")
    entries = fields.many(lambda: read_entry(fields, began, contexts, subjects))
    return Page(previous, began, latest, subjects, seen, entries, key_number, kind, steps)


def read_page_id(fields: Fields) -> PageId:
    return PageId(fields.take(16), fields.u64())


def read_context(fields: Fields) -> Context:
    return Context(fields.text(), fields.text(), fields.text(), fields.text(), fields.flag())


def read_entry(
    fields: Fields, began: int, contexts: list[Context], subjects: list[tuple[bytes, bytes]]
) -> JournalEntry:
    return JournalEntry(
        min(began + fields.u32(), LAST_TIME),
        at_place(contexts, fields.u16()),
        listed(fields.u8(), OPERATIONS),
        listed(fields.u8(), range(len(OUTCOMES))),
        fields.code(range(2)),
        read_target(fields, subjects),
        fields.option(fields.text),
        fields.option(fields.text),
        fields.option(fields.text),
    )


def read_target(fields: Fields, subjects: list[tuple[bytes, bytes]]) -> Target:
    code = fields.code(TARGETS)
    read: dict[str, Any] = {}
    if code == 1:
        read = {"generation": fields.u64(), "digest": fields.take(32)}
    if code in (2, 3, 4, 5, 10, 11, 12, 13):
        read["chart"], read["jsub"] = at_place(subjects, fields.u16())
    if code == 3 or (code in (12, 13) and fields.flag()):
        read |= {"sequence": fields.u64(), "digest": fields.take(32)}
    if code in (4, 5, 10):
        read |= {"rtag": fields.take(16), "jnam": fields.take(16), "version": fields.u64()}
    if code == 5:
        read["digest"] = fields.take(32)
    if code == 10:
        read |= {"digest_before": fields.take(32), "digest": fields.take(32)}
    if code == 6:
        read |= vars(read_page_id(fields)) | {"place": fields.u32()}
    if code == 7:
        read = {"fault": fields.u8(), "writer": fields.take(16)}
        read |= {"page": fields.u64(), "pages": fields.u64()}
    if code == 8:
        read = {"slot": fields.u16(), "kind": fields.u16()}
    if code == 9:
        read = {"master_key": fields.u32()}
    if code == 11:
        read["read"] = fields.many(lambda: read_version(fields))
        if not 1 <= len(read["read"]) <= MOST_RECORDS:
            raise Refused("Malformed")
    if code == 12:
        read["until"] = fields.option(fields.i64)
    if code == 13:
        read["hold"] = fields.u64()
    return Target(code, **read)


def read_version(fields: Fields) -> dict[str, Any]:
    rtag, jnam = fields.take(16).hex(), fields.take(16).hex()
    return {"rtag": rtag, "jnam": jnam, "version": fields.u64()}


def at_place(table: list, place: int):
    if place >= len(table):
        raise Refused("Malformed")
    return table[place]


def read_journal(storage: dict[bytes, bytes], vault: bytes, keys: JournalKeys) -> Journal:
    """Reads every page, and finds the faults of pages and chains."""
    values = {
        PageId(key[1:17], int.from_bytes(key[17:], "big")): value
        for key, value in storage.items()
        if len(key) == 25 and key.startswith(b"j")
    }
    pages: dict[PageId, Page] = {}
    faults = []
    for id, value in values.items():
        try:
            pages[id] = open_page(value, vault, keys, id)
        except Refused as refused:
            faults.append(Fault(OWN_FAULTS.get(refused.failure, "Altered"), id))
    for id in of_another_kind(pages):
        del pages[id]
        faults.append(Fault("Forged", id))
    digests = {id: sha256(value) for id, value in values.items()}
    opened = set(pages)
    refused, archived = refused_and_archived(pages, digests, keys)
    for id, fault in refused:
        del pages[id]
        faults.append(Fault(fault, id))
    # A summary stands for its page, stored or not.
    digests |= {id: summary.digest for id, summary in archived.items()}
    opened |= set(archived)
    faults += missing_pages(digests)
    last = {id.writer: id.sequence for id in sorted(digests)}
    all_pages = pages | {id: summary.page for id, summary in archived.items()}
    for id, page in pages.items():
        if id in archived:
            continue
        before = PageId(id.writer, id.sequence - 1)
        expected = digests[before] if before in opened else bytes(32)
        if (before in opened or id.sequence == 0) and page.previous != expected:
            faults.append(Fault("Unlinked", id))
    for seen in [closed_heads(keys), *(page.seen for page in all_pages.values())]:
        for other, digest in seen:
            if other.sequence > last.get(other.writer, -1):
                faults.append(Fault("Cut", other))
            elif other in all_pages and digests[other] != digest:
                faults.append(Fault("Replaced", other))
    return Journal(pages, faults, archived)


def closed_heads(keys: JournalKeys) -> list[tuple[PageId, bytes]]:
    heads = [head for closing in keys.closings for head in closing or []]
    return [(PageId(writer, sequence), digest) for writer, sequence, digest in heads]


def refused_and_archived(
    pages: dict[PageId, Page], digests: dict[PageId, bytes], keys: JournalKeys
) -> tuple[list[tuple[PageId, str]], dict[PageId, Summary]]:
    """Finds the pages under closed keys that the closings do not cover, each with its fault. Also returns
    the archived pages, by the summaries on the pages that are believed."""
    archived: dict[PageId, Summary] = {}
    while True:
        all_pages = pages | {id: summary.page for id, summary in archived.items()}
        all_digests = digests | {id: summary.digest for id, summary in archived.items()}
        refused = uncovered(all_pages, all_digests, keys)
        refused = [(id, fault) for id, fault in refused if id not in archived]
        believed = pages.keys() - {id for id, _ in refused}
        found = {
            summary.id: summary
            for id in sorted(believed)
            if id.writer[0] >= MARK_OF_SUMMARIES and pages[id].summaries is not None
            for summary in pages[id].summaries.pages
        }
        if found.keys() == archived.keys():
            return refused, archived
        archived = found


def uncovered(
    pages: dict[PageId, Page], digests: dict[PageId, bytes], keys: JournalKeys
) -> list[tuple[PageId, str]]:
    """Finds the pages under closed keys that the closings do not cover, each with its fault."""
    covered, has_gap = set(), False
    named = closed_heads(keys)
    while named:
        id, digest = named.pop()
        if id in covered and digests[id] == digest:
            continue
        if id not in pages or digests[id] != digest:
            has_gap = True
            continue
        covered.add(id)
        named += pages[id].seen
        if id.sequence > 0:
            named.append((PageId(id.writer, id.sequence - 1), pages[id].previous))
    closed = keys.closed()
    fault = "Unproven" if has_gap else "Late"
    return [
        (id, fault)
        for id, page in pages.items()
        if page.key_number in closed and id not in covered and keys.authority is not None
    ]


def of_another_kind(pages: dict[PageId, Page]) -> list[PageId]:
    """Finds the pages whose kind differs from the first page of their chain that opens."""
    kinds: dict[bytes, int] = {}
    for id in sorted(pages):
        kinds.setdefault(id.writer, pages[id].kind)
    return [id for id, page in pages.items() if page.kind != kinds[id.writer]]


def missing_pages(ids: dict[PageId, bytes]) -> list[Fault]:
    """Finds, for each chain, the first missing page below an existing one."""
    chains = defaultdict(set)
    for id in ids:
        chains[id.writer].add(id.sequence)
    faults = []
    for writer, sequences in chains.items():
        first_missing = next(n for n in range(len(sequences) + 1) if n not in sequences)
        if first_missing < max(sequences):
            faults.append(Fault("Missing", PageId(writer, first_missing)))
    return faults


def unsettled(journal: Journal) -> dict[tuple[PageId, int], JournalEntry]:
    """Returns the announced entries on stored pages whose change may have happened or not."""
    announced = {
        (id, place): entry
        for id, page in journal.pages.items()
        for place, entry in enumerate(page.entries)
        if entry.stage == ANNOUNCED
    }
    settled = {entry.target.announced() for page in journal.all_pages().values() for entry in page.entries}
    return {at: entry for at, entry in announced.items() if at not in settled}
