//! Second reader, written from format.md, which opens valid vectors and records every step.

use std::collections::BTreeSet;

use crate::container::{Objects, Vector};
use crate::coverage::Covered;
use crate::formula::*;
use crate::mirror::{Chart, Entry, Keyring, State, split_header};
use crate::page::Page;
use crate::slot_secrets::secret;

pub struct Opened {
    pub steps: RecordedSteps,
    /// Content of the record; `None` if the vault does not contain the record.
    pub content: Option<Vec<u8>>,
    pub records: Vec<OpenedRecord>,
    pub root: Option<Key>,
}

/// Keys and body from which a writer produces the same value again.
pub struct OpenedRecord {
    pub key: Vec<u8>,
    pub patient_key: Key,
    pub data_key: Key,
    pub body: Vec<u8>,
    pub stream_key: Option<Key>,
}

/// Intermediate values of the reader, each with its number and name.
pub type RecordedSteps = Vec<(String, Vec<u8>)>;

struct Steps(RecordedSteps);

impl Steps {
    fn note(&mut self, what: &str, value: &[u8]) {
        let number = self.0.len() + 1;
        self.0
            .push((format!("step {number:02} {what}"), value.to_vec()));
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

/// Opens the object that a vector requests, and panics if a check fails.
pub fn read(vector: &Vector) -> Opened {
    let mut steps = Steps(Vec::new());
    let mut opened = Opened {
        steps: Vec::new(),
        content: None,
        records: Vec::new(),
        root: None,
    };
    let Some((root, keyring, vault)) = header(vector, &mut steps) else {
        let (keys, slot) = auditor(vector).unwrap();
        steps.0 = slot;
        opened.content = page(vector, &keys, &mut steps);
        opened.steps = steps.0;
        return opened;
    };
    opened.root = Some(root);
    let keys: Vec<_> = keyring.journal_keys.iter().map(|key| key.key).collect();
    opened.content = page(vector, &keys, &mut steps);
    if vector.about.contains_key("coverage") {
        opened.content = coverage(vector, &keyring, &vault, &mut steps);
    }
    if let Some((kind, identifier)) = vector.subject()
        && let Some(entry) = entry(vector, &keyring, &vault, (kind, identifier), &mut steps)
        && let Some(name) = vector.text("record")
    {
        let (content, record) = record(vector, &entry, name, &mut steps);
        opened.content = content;
        opened.records.extend(record);
    }
    opened.steps = steps.0;
    opened
}

fn header(vector: &Vector, steps: &mut Steps) -> Option<(Key, Keyring, [u8; 16])> {
    let value = &vector.storage[b"v".as_slice()];
    assert_eq!(value[..10], *b"\x89CLK\r\n\x1a\n\x01\x00");
    let (suite, vault) = (value[10], array::<16>(value, 12));
    let (frame, ring) = split_header(value);
    let (salt, commitment) = (&ring[..32], &ring[32..64]);
    assert_eq!(ring.len(), 68 + u32_at(ring, 64) as usize + 16);

    let mut slots = &frame[36..];
    for _ in 0..value[11] {
        let length = u32_at(slots, 4) as usize;
        let (slot, rest) = slots.split_at(8 + length);
        slots = rest;
        let (parameters, tail) = slot[8..].split_at(length - 112);
        let (kind, id) = (u16_at(slot, 0), u16_at(slot, 2));
        let Some(secret) = secret(vector, kind, parameters) else {
            continue;
        };
        let (slot_key, slot_commitment) = slot_key(
            &secret,
            &SlotInfo {
                suite,
                vault: &vault,
                kind,
                id,
                salt: &tail[..32],
                parameters,
            },
        );
        if slot_commitment != tail[32..64] {
            continue;
        }
        let root: Key = open(suite, &slot_key, 0, &tail[64..]).try_into().unwrap();
        let (ring_key, ring_commitment) = ring_key(&root, salt, frame);
        if ring_commitment != *commitment {
            continue;
        }
        let body = open(suite, &ring_key, 0, &ring[68..]);
        steps.note("slot secret", &secret);
        steps.note("slot key", &slot_key);
        steps.note("slot commitment", &slot_commitment);
        steps.note("root key", &root);
        steps.note("ring key", &ring_key);
        steps.note("ring commitment", &ring_commitment);
        steps.note("keyring body", &body);
        let keyring = wincode::deserialize_exact(&body).unwrap();
        return Some((root, keyring, vault));
    }
    None
}

/// Returns the journal key that the auditor slot of the vector's credential wraps.
pub fn journal_key(vector: &Vector) -> Option<Key> {
    auditor(vector).map(|(keys, _)| keys[0])
}

/// Returns the journal key, and the recorded steps that lead to it.
fn auditor(vector: &Vector) -> Option<(Vec<Key>, RecordedSteps)> {
    let value = &vector.storage[b"v".as_slice()];
    let (suite, vault) = (value[10], array::<16>(value, 12));
    let frame = split_header(value).0;
    let mut slots = &frame[36..];
    for _ in 0..value[11] {
        let (slot, rest) = slots.split_at(8 + u32_at(slots, 4) as usize);
        slots = rest;
        let (parameters, tail) = slot[8..].split_at(slot.len() - 120);
        let (kind, id) = (u16_at(slot, 0), u16_at(slot, 2));
        let Some(own) = kind.checked_sub(0x8000) else {
            continue;
        };
        let Some(secret) = secret(vector, own, parameters) else {
            continue;
        };
        let info = SlotInfo {
            suite,
            vault: &vault,
            kind,
            id,
            salt: &tail[..32],
            parameters,
        };
        let (slot_key, commitment) = slot_key(&secret, &info);
        if commitment == tail[32..64] {
            let mut steps = Steps(Vec::new());
            steps.note("slot secret", &secret);
            steps.note("slot key", &slot_key);
            steps.note("slot commitment", &commitment);
            let active: Key = open(suite, &slot_key, 0, &tail[64..]).try_into().unwrap();
            return Some((journal_keys(frame, active), steps.0));
        }
    }
    None
}

/// Returns the active journal key, and the former keys that the end of the frame contains.
fn journal_keys(frame: &[u8], active: Key) -> Vec<Key> {
    let (suite, vault) = (frame[10], array::<16>(frame, 12));
    let mut end = 36;
    for _ in 0..frame[11] {
        end += 8 + u32_at(frame, end + 4) as usize;
    }
    let mut keys = vec![active];
    let mut successor = u32_at(frame, end);
    for former in frame[end + 6..].chunks(52) {
        let number = u32_at(former, 0);
        let last = &keys[keys.len() - 1];
        let key = former_key(last, &vault, (successor, number));
        keys.push(open(suite, &key, 0, &former[4..]).try_into().unwrap());
        successor = number;
    }
    keys
}

fn entry(
    vector: &Vector,
    keyring: &Keyring,
    vault: &[u8; 16],
    (kind, identifier): (u8, &str),
    steps: &mut Steps,
) -> Option<Entry> {
    let (name_key, ptag, value) = keyring.name_keys.iter().find_map(|name_key| {
        let ptag = ptag(&name_key.key, kind, identifier);
        let value = vector.storage.get(&[b"p", &ptag[..]].concat())?;
        Some((name_key.key, ptag, value))
    })?;
    assert_eq!((value[0], value[2], value[3]), (1, 16, 0));
    let master = (keyring.masters.iter())
        .find(|master| master.number == u32_at(value, 4))
        .unwrap();
    let (entry_key, commitment) = entry_key(&master.key, &value[8..40], vault, &ptag, &value[..8]);
    assert_eq!(commitment, value[40..72]);
    let body = open(value[1], &entry_key, 0, &value[72..]);
    steps.note("name key", &name_key);
    steps.note("ptag", &ptag);
    steps.note("master key", &master.key);
    steps.note("entry key", &entry_key);
    steps.note("entry commitment", &commitment);
    steps.note("entry body", &body);
    let entry: Entry = wincode::deserialize_exact(&body).unwrap();
    assert_eq!((entry.kind, &*entry.identifier), (kind, identifier));
    (entry.state == State::Live).then_some(entry)
}

/// Opens the page that the vector requests under one of the keys, and returns its content.
fn page(vector: &Vector, keys: &[Key], steps: &mut Steps) -> Option<Vec<u8>> {
    let asked = vector.about.get("page")?;
    let value = vector.storage.get(&[b"j", &asked[..]].concat())?;
    let vault = array(&vector.storage[b"v".as_slice()], 12);
    assert_eq!((value[0], value[3]), (1, 0));
    let tail = match value[2] {
        18 => 36,
        19 => 0,
        kind => panic!("a page of kind {kind}"),
    };
    let sequence = u64::from_be_bytes(array(asked, 16));
    let position = (&array(asked, 0), sequence);
    let count = u16::from_le_bytes(array(value, 72));
    let values = if count == 0xffff { 0 } else { count };
    let (filter, sealed) = value[72..].split_at(2 + 2 * usize::from(values));
    let clear = (&value[..8], filter);
    let (journal_key, page_key, commitment) = keys.iter().find_map(|key| {
        let (page, commitment) = page_key(key, &value[8..40], &vault, position, clear);
        (commitment == value[40..72]).then_some((key, page, commitment))
    })?;
    let body = open(value[1], &page_key, 0, sealed);
    steps.note("journal key", journal_key);
    steps.note("page key", &page_key);
    steps.note("page commitment", &commitment);
    steps.note("page body", &body[..body.len().min(4096)]);
    let page: Page = wincode::deserialize_exact(&body[..body.len() - tail]).unwrap();
    let listed: BTreeSet<u16> = (filter[2..].chunks_exact(2))
        .map(|value| u16::from_le_bytes([value[0], value[1]]))
        .collect();
    assert_eq!(listed.len(), usize::from(values));
    let lists = |jsub| listed.contains(&filter_value(journal_key, &value[8..40], jsub));
    assert!(count == 0xffff || page.filtered_jsubs().iter().all(lists));
    Some(page.content_json())
}

/// Opens the covered chain heads, and returns their content if their page exists with its digest.
fn coverage(
    vector: &Vector,
    keyring: &Keyring,
    vault: &[u8; 16],
    steps: &mut Steps,
) -> Option<Vec<u8>> {
    let value = vector.storage.get(&b"a"[..])?;
    assert_eq!((value[0], value[2], value[3]), (1, 24, 0));
    let authority = &keyring.authority_keys[0];
    assert_eq!(u32_at(value, 4), authority.number);
    let (key, commitment) = coverage_key(&authority.key, &value[8..40], vault, &value[..8]);
    assert_eq!(commitment, value[40..72]);
    let body = open(value[1], &key, 0, &value[72..]);
    steps.note("authority key", &authority.key);
    steps.note("coverage key", &key);
    steps.note("coverage commitment", &commitment);
    steps.note("coverage body", &body[..body.len().min(4096)]);
    let covered: Covered = wincode::deserialize_exact(&body).unwrap();
    let page = &covered.page;
    let at = [
        b"j",
        &page.page.writer[..],
        &page.page.sequence.to_be_bytes(),
    ]
    .concat();
    let is_stored = sha256(&[vector.storage.get(&at)?]) == page.digest;
    is_stored.then(|| covered.content_json(&vector.storage))
}

fn record(
    vector: &Vector,
    entry: &Entry,
    name: &str,
    steps: &mut Steps,
) -> (Option<Vec<u8>>, Option<OpenedRecord>) {
    let chart = &entry.charts[0];
    let rtag = rtag(&chart.name_key, name);
    steps.note("patient name key", &chart.name_key);
    steps.note("rtag", &rtag);
    let current = [b"r", &chart.id[..], &rtag].concat();
    let Some(value) = vector.storage.get(&current) else {
        return (None, None);
    };
    let last = u64::from_le_bytes(array(value, 8));
    let (key, value) = match vector.version() {
        Some(version) if version > last => return (None, None),
        Some(version) if version < last => {
            if version <= expunged_up_to(vector, chart, &rtag, last) {
                return (None, None);
            }
            let key = [b"h", &chart.id[..], &rtag, &version.to_be_bytes()].concat();
            let value = &vector.storage[&key];
            (key, value)
        }
        _ => (current, value),
    };
    let Unsealed {
        patient_key,
        wrap_key,
        data_key,
        body_key,
        commitment,
        body,
    } = unseal(chart, &key, value);
    steps.note("patient key", &patient_key);
    steps.note("wrap key", &wrap_key);
    steps.note("data key", &data_key);
    steps.note("body key", &body_key);
    steps.note("body commitment", &commitment);
    steps.note("body", &body[..body.len().min(4096)]);
    steps.note("digest", &sha256(&[&value[96..]]));

    let meta_end = 2 + usize::from(u16_at(&body, 0));
    let length = u32_at(&body, meta_end) as usize;
    let mut stream_key = None;
    let content = match value[2] {
        1 => Some(body[meta_end + 4..][..length].to_vec()),
        2 => {
            let key: Key = array(&body, meta_end - 40);
            let length = u64::from_le_bytes(array(&body, meta_end - 8)) as usize;
            let stream: [u8; 16] = array(value, 96);
            let chunk_key = chunk_key(&key, &chart.id, &stream, value);
            steps.note("stream key", &key);
            steps.note("chunk key", &chunk_key);
            stream_key = Some(key);
            let at = [b"s", &chart.id[..], &stream].concat();
            Some(stream_content(
                &vector.storage,
                &at,
                value[1],
                &chunk_key,
                length,
            ))
        }
        _ => None,
    };
    let record = OpenedRecord {
        key,
        patient_key,
        data_key,
        body,
        stream_key,
    };
    (content, Some(record))
}

struct Unsealed {
    patient_key: Key,
    wrap_key: Key,
    data_key: Key,
    body_key: Key,
    commitment: Key,
    body: Vec<u8>,
}

/// Opens the value that is stored under a storage key of a record.
fn unseal(chart: &Chart, key: &[u8], value: &[u8]) -> Unsealed {
    try_unseal(chart, key, value).unwrap()
}

/// Opens a value whose body may have been altered; returns `None` if the body does not open.
fn try_unseal(chart: &Chart, key: &[u8], value: &[u8]) -> Option<Unsealed> {
    assert_eq!((value[0], value[3]), (1, 1));
    let number = u32_at(value, 4);
    let patient_key = (chart.keys.iter())
        .find(|key| key.number == number)
        .unwrap()
        .key;
    let wrap_key = wrap_key(&patient_key, key[0], number, &array(value, 16));
    let data_key: Key = open(value[1], &wrap_key, 0, &value[48..96])
        .try_into()
        .unwrap();
    let (body_key, commitment) = body_key(&data_key, &chart.id, &array(key, 17), &value[..16]);
    assert_eq!(commitment, value[16..48]);
    let start = if value[2] == 2 { 112 } else { 96 };
    let body = try_open(value[1], &body_key, 0, &value[start..])?;
    Some(Unsealed {
        patient_key,
        wrap_key,
        data_key,
        body_key,
        commitment,
        body,
    })
}

/// Returns the number of the last expunged version, from the current version `last` or, if its body
/// does not open or has another name, from the version before it. Returns 0 if none was expunged.
fn expunged_up_to(vector: &Vector, chart: &Chart, tag: &[u8; 16], last: u64) -> u64 {
    let current = [b"r", &chart.id[..], tag].concat();
    let before = [b"h", &chart.id[..], tag, &(last - 1).to_be_bytes()].concat();
    let number = [current, before].iter().find_map(|key| {
        let value = &vector.storage[key];
        let (name, number) = expunged_of(&try_unseal(chart, key, value)?.body);
        (rtag(&chart.name_key, &name) == *tag).then_some(number)
    });
    number.unwrap()
}

/// Returns the name in the metadata at the start of a body, and the number in extension 0x8001.
fn expunged_of(body: &[u8]) -> (String, u64) {
    let mut at = 2 + 1 + 8;
    at += match body[at] {
        0 => 2 + usize::from(body[at + 1]),
        _ => 1,
    };
    let length = usize::from(u16_at(body, at));
    let name = String::from_utf8(body[at + 2..][..length].to_vec()).unwrap();
    at += 2 + length;
    let labels = body[at];
    at += 1;
    for _ in 0..labels {
        at += 1 + usize::from(body[at]);
    }
    let extensions = body[at];
    at += 1;
    let mut last = 0;
    for _ in 0..extensions {
        if u16_at(body, at) == 0x8001 {
            last = u64::from_le_bytes(array(body, at + 4));
        }
        at += 4 + usize::from(u16_at(body, at + 2));
    }
    (name, last)
}

fn stream_content(
    storage: &Objects,
    at: &[u8],
    suite: u8,
    chunk_key: &Key,
    length: usize,
) -> Vec<u8> {
    let padded = padme(length);
    let mut content = Vec::new();
    for index in 0..padded.div_ceil(1 << 20) as u32 {
        let segment = &storage[&[at, &index.to_be_bytes()].concat()];
        for (chunk, sealed) in (u64::from(index) * 16..).zip(segment.chunks(65_552)) {
            content.extend(open(suite, chunk_key, chunk, sealed));
        }
    }
    assert_eq!(content.len(), padded);
    assert!(content[length..].iter().all(|byte| *byte == 0));
    content.truncate(length);
    content
}
