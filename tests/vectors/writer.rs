//! Second writer, written from format.md. Keys, salts and ids are derived from fixed labels instead
//! of random numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::container::{Objects, write};
use crate::formula::*;
use crate::mirror::{Chart, Closing, Entry, Head, Key as KeyVersion, Keyring, PatientKey, State};
use crate::page::{Page, Place, hex};

pub const NOW: i64 = 1_795_000_000_000;
pub const NAME: &str = "Observation/bp-2026-11-21";

/// Vault under construction. Each vector may change the fields before they are sealed.
pub struct World {
    file: String,
    pub suite: u8,
    pub vault: [u8; 16],
    pub generation: u64,
    pub slots: Vec<Slot>,
    pub root: Key,
    pub keyring: Keyring,
    pub entry: Entry,
    /// Index of the name key that derives the storage key of the patient entry.
    pub name_key: usize,
    /// Index of the master key that seals the patient entry.
    pub master: usize,
    pub entry_suite: u8,
    /// Index of the journal key that seals pages.
    pub journal_key: usize,
    pub storage: Objects,
    /// Pages of vaults that this writer put, by storage key.
    pub pages: BTreeMap<Vec<u8>, Page>,
    about: Objects,
}

/// The filter of a journal page.
pub enum Filter<'a> {
    /// The filter that lists the subjects of this page.
    Of(&'a Page),
    /// The filter that lists these subjects.
    Listing(&'a BTreeSet<[u8; 16]>),
    /// The filter that lists no values.
    Any,
    /// These bytes.
    Bytes(&'a [u8]),
}

pub struct Slot {
    pub kind: u16,
    pub id: u16,
    pub parameters: Vec<u8>,
    pub secret: Key,
    /// Wrapped key: the root key, or the journal key in an auditor slot.
    pub wrapped: Key,
}

/// Unsealed version of a record.
pub struct Version {
    pub name: String,
    pub version: u64,
    pub kind: u8,
    pub place: u8,
    pub suite: u8,
    pub key: usize,
    pub body: Vec<u8>,
    pub stream: Option<[u8; 16]>,
}

pub struct Meta {
    pub name: String,
    /// Encoded content type: a code, or code 0 followed by the length and the text.
    pub content_type: Vec<u8>,
    pub labels: Vec<&'static str>,
    pub extensions: Vec<(u16, Vec<u8>)>,
    pub stream: Option<(Key, u64)>,
}

impl Meta {
    pub fn of(name: &str) -> Self {
        Self {
            name: name.into(),
            content_type: vec![1],
            labels: Vec::new(),
            extensions: Vec::new(),
            stream: None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        out.extend(NOW.to_le_bytes());
        out.extend(&self.content_type);
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend(self.name.as_bytes());
        out.push(self.labels.len() as u8);
        for label in &self.labels {
            out.push(label.len() as u8);
            out.extend(label.as_bytes());
        }
        out.push(self.extensions.len() as u8);
        for (number, bytes) in &self.extensions {
            out.extend(number.to_le_bytes());
            out.extend((bytes.len() as u16).to_le_bytes());
            out.extend(bytes);
        }
        if let Some((key, length)) = &self.stream {
            out.extend(key);
            out.extend(length.to_le_bytes());
        }
        out
    }
}

/// Returns the padded body of a record.
pub fn body(meta: &[u8], content: &[u8]) -> Vec<u8> {
    let mut body = (meta.len() as u16).to_le_bytes().to_vec();
    body.extend(meta);
    body.extend((content.len() as u32).to_le_bytes());
    body.extend(content);
    let padded = match body.len() {
        length @ ..2048 => length.next_multiple_of(64),
        length => padme(length),
    };
    body.resize(padded, 0);
    body
}

impl World {
    /// Creates a vault with one key file slot, one key of each role, and one patient with one key.
    pub fn new(file: &str, suite: u8) -> Self {
        let mut world = Self {
            file: file.into(),
            suite,
            vault: [0; 16],
            generation: 1,
            slots: Vec::new(),
            root: [0; 32],
            keyring: Keyring {
                schema: 1,
                rings: 4,
                master_role: 1,
                masters: Vec::new(),
                name_role: 2,
                name_keys: Vec::new(),
                journal_role: 3,
                journal_keys: Vec::new(),
                authority_role: 4,
                authority_keys: Vec::new(),
                closings: Vec::new(),
                extensions: Vec::new(),
            },
            entry: Entry {
                schema: 1,
                sequence: 1,
                generation: 1,
                state: State::Live,
                kind: 1,
                identifier: "MRN-1042".into(),
                charts: Vec::new(),
                moving_from: 0,
                dead_charts: Vec::new(),
                holds: Vec::new(),
                retention: None,
                extensions: Vec::new(),
            },
            name_key: 0,
            master: 0,
            entry_suite: suite,
            journal_key: 0,
            storage: Objects::new(),
            pages: BTreeMap::new(),
            about: Objects::new(),
        };
        world.vault = world.draw16("vault id");
        world.root = world.draw("root key");
        world.keyring.masters = vec![world.numbered("master key", 0)];
        world.keyring.name_keys = vec![world.numbered("name key", 0)];
        world.keyring.journal_keys = vec![world.numbered("journal key", 0)];
        world.keyring.authority_keys = vec![world.numbered("authority key", 0)];
        let chart = Chart {
            id: world.draw16("chart id"),
            name_key: world.draw("patient name key"),
            state: 0,
            created: NOW,
            keys: vec![world.patient_key("patient key", 0)],
        };
        world.entry.charts = vec![chart];
        world.slots = vec![world.key_file_slot("slot")];
        let text = world.key_file();
        world.about("credential key file", text.as_bytes());
        world.about("subject patient", b"MRN-1042");
        world.about("record", NAME.as_bytes());
        world
    }

    /// Derives the value for the label `what` by hashing the vector's file name and the label with
    /// SHA-256. Each value is deterministic, so that the vectors can be written again.
    pub fn draw(&self, what: &str) -> Key {
        let parts: [&[u8]; 5] = [
            b"chartlock vector",
            &[0],
            self.file.as_bytes(),
            &[0],
            what.as_bytes(),
        ];
        sha256(&parts)
    }

    pub fn draw16(&self, what: &str) -> [u8; 16] {
        self.draw(what)[..16].try_into().unwrap()
    }

    fn number(&self, what: &str) -> u32 {
        let drawn = self.draw(&format!("{what} number"));
        u32::from_le_bytes(drawn[..4].try_into().unwrap())
    }

    pub fn numbered(&self, what: &str, state: u32) -> KeyVersion {
        KeyVersion {
            number: self.number(what),
            state,
            created: NOW,
            key: self.draw(what),
        }
    }

    pub fn patient_key(&self, what: &str, state: u32) -> PatientKey {
        PatientKey {
            number: self.number(what),
            compartment: 0,
            state,
            created: NOW,
            key: self.draw(what),
        }
    }

    pub fn key_file_slot(&self, what: &str) -> Slot {
        let id = self.draw(&format!("{what} id"));
        Slot {
            kind: 2,
            id: u16::from_le_bytes([id[0], id[1]]),
            parameters: Vec::new(),
            secret: self.draw("slot secret"),
            wrapped: self.root,
        }
    }

    /// Returns an auditor slot of the vector's credential.
    pub fn auditor_slot(&self, what: &str) -> Slot {
        Slot {
            kind: 0x8002,
            wrapped: self.keyring.journal_keys[0].key,
            ..self.key_file_slot(what)
        }
    }

    pub fn key_file(&self) -> String {
        key_file(&self.draw("slot secret"))
    }

    pub fn about(&mut self, what: &str, value: &[u8]) {
        let key = format!("#{what}").into_bytes();
        assert!(key.len() <= 64);
        self.about.insert(key, value.to_vec());
    }

    pub fn forget(&mut self, what: &str) {
        self.about.remove(format!("#{what}").as_bytes());
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut frame = b"\x89CLK\r\n\x1a\n\x01\x00".to_vec();
        frame.extend([self.suite, self.slots.len() as u8]);
        frame.extend(self.vault);
        frame.extend(self.generation.to_le_bytes());
        for (n, slot) in self.slots.iter().enumerate() {
            let salt = self.draw(&format!("wrap salt {n}"));
            let info = SlotInfo {
                suite: self.suite,
                vault: &self.vault,
                kind: slot.kind,
                id: slot.id,
                salt: &salt,
                parameters: &slot.parameters,
            };
            let (key, commitment) = slot_key(&slot.secret, &info);
            frame.extend(slot.kind.to_le_bytes());
            frame.extend(slot.id.to_le_bytes());
            frame.extend((slot.parameters.len() as u32 + 112).to_le_bytes());
            frame.extend(&slot.parameters);
            frame.extend(salt);
            frame.extend(commitment);
            frame.extend(seal(self.suite, &key, 0, &slot.wrapped));
        }
        frame.extend(self.former_keys());
        frame
    }

    /// Returns the end of the frame: the number of the active journal key, and the former keys, each
    /// wrapped under its successor.
    fn former_keys(&self) -> Vec<u8> {
        let keys = &self.keyring.journal_keys;
        let mut bytes = keys
            .first()
            .map_or(0, |key| key.number)
            .to_le_bytes()
            .to_vec();
        bytes.extend((keys.len().saturating_sub(1) as u16).to_le_bytes());
        for pair in keys.windows(2) {
            let [successor, former] = pair else {
                unreachable!("a window of two")
            };
            let numbers = (successor.number, former.number);
            let key = former_key(&successor.key, &self.vault, numbers);
            bytes.extend(former.number.to_le_bytes());
            bytes.extend(seal(self.suite, &key, 0, &former.key));
        }
        bytes
    }

    /// Adds active journal and authority keys, which close the former keys with these heads.
    pub fn rotate_journal_keys(&mut self, heads: Vec<Head>) {
        let count = self.keyring.closings.len();
        let journal = self.numbered(&format!("journal key {count}"), 0);
        let authority = self.numbered(&format!("authority key {count}"), 0);
        let rings = [
            (&mut self.keyring.journal_keys, journal),
            (&mut self.keyring.authority_keys, authority),
        ];
        for (ring, key) in rings {
            ring[0].state = 1;
            ring.insert(0, key);
        }
        self.keyring.closings.insert(0, Closing::Closed { heads });
    }

    pub fn header(&mut self) {
        self.header_with(&wincode::serialize(&self.keyring).unwrap());
    }

    pub fn header_with(&mut self, body: &[u8]) {
        let (frame, salt) = (self.frame(), self.draw("ring salt"));
        let (key, commitment) = ring_key(&self.root, &salt, &frame);
        let length = (body.len() as u32).to_le_bytes();
        let sealed = seal(self.suite, &key, 0, body);
        let value = [&frame[..], &salt, &commitment, &length, &sealed].concat();
        self.storage.insert(b"v".to_vec(), value);
    }

    pub fn entry_key(&self) -> Vec<u8> {
        let name_key = &self.keyring.name_keys[self.name_key].key;
        let ptag = ptag(name_key, self.entry.kind, &self.entry.identifier);
        [b"p", &ptag[..]].concat()
    }

    pub fn entry(&mut self) {
        let key = self.entry_key();
        self.entry_with(&key, &wincode::serialize(&self.entry).unwrap());
    }

    pub fn entry_with(&mut self, at: &[u8], body: &[u8]) {
        let master = &self.keyring.masters[self.master];
        let mut head = vec![1, self.entry_suite, 16, 0];
        head.extend(master.number.to_le_bytes());
        let salt = self.draw("entry salt");
        let ptag = at[1..].try_into().unwrap();
        let (key, commitment) = entry_key(&master.key, &salt, &self.vault, ptag, &head);
        let sealed = seal(self.entry_suite, &key, 0, body);
        let value = [&head[..], &salt, &commitment, &sealed].concat();
        self.storage.insert(at.to_vec(), value);
    }

    /// Stores the header and the patient entry.
    pub fn base(&mut self) {
        self.header();
        self.entry();
    }

    pub fn rtag(&self, name: &str) -> [u8; 16] {
        rtag(&self.entry.charts[0].name_key, name)
    }

    /// Returns the storage key of a record's current version.
    pub fn at(&self, name: &str) -> Vec<u8> {
        [b"r", &self.entry.charts[0].id[..], &self.rtag(name)].concat()
    }

    /// Returns the storage key of an earlier version.
    pub fn earlier(&self, name: &str, version: u64) -> Vec<u8> {
        let chart = &self.entry.charts[0].id;
        [b"h", &chart[..], &self.rtag(name), &version.to_be_bytes()].concat()
    }

    pub fn version(&self, version: u64, body: Vec<u8>) -> Version {
        Version {
            name: NAME.into(),
            version,
            kind: 1,
            place: b'r',
            suite: self.suite,
            key: 0,
            body,
            stream: None,
        }
    }

    /// Returns the first 16 bytes of a record value.
    fn head(&self, version: &Version) -> Vec<u8> {
        let number = self.entry.charts[0].keys[version.key].number;
        let mut head = vec![1, version.suite, version.kind, 1];
        head.extend(number.to_le_bytes());
        head.extend(version.version.to_le_bytes());
        head
    }

    pub fn data_key(&self, version: &Version) -> Key {
        self.draw(&format!("data key {} of {}", version.version, version.name))
    }

    pub fn seal(&self, version: &Version) -> Vec<u8> {
        self.seal_wrapping(version, &self.data_key(version))
    }

    /// Seals a version under its own data key, but wraps another data key.
    pub fn seal_wrapping(&self, version: &Version, wrapped: &Key) -> Vec<u8> {
        let chart = &self.entry.charts[0];
        let patient_key = &chart.keys[version.key];
        let (head, data_key) = (self.head(version), self.data_key(version));
        let (key, commitment) = body_key(&data_key, &chart.id, &self.rtag(&version.name), &head);
        let number = patient_key.number;
        let wrap_key = wrap_key(&patient_key.key, version.place, number, &commitment);
        let wrapped = seal(version.suite, &wrap_key, 0, wrapped);
        let stream = version.stream.as_ref().map_or(&[][..], |stream| stream);
        let sealed = seal(version.suite, &key, 0, &version.body);
        [&head[..], &commitment, &wrapped, stream, &sealed].concat()
    }

    /// Seals a version and stores it under its storage key.
    pub fn put(&mut self, version: &Version) {
        let at = match version.place {
            b'r' => self.at(&version.name),
            _ => self.earlier(&version.name, version.version),
        };
        let value = self.seal(version);
        self.storage.insert(at, value);
    }

    /// Stores a current version of the record that the vector requests.
    pub fn put_inline(&mut self, content: &[u8]) {
        let body = body(&Meta::of(NAME).encode(), content);
        let version = self.version(1, body);
        self.put(&version);
    }

    /// Stores versions 1 to `contents.len()`. The last one is the current version.
    pub fn put_versions(&mut self, contents: &[&[u8]]) {
        for (content, n) in contents.iter().zip(1..) {
            let mut version = self.version(n, body(&Meta::of(NAME).encode(), content));
            if n < contents.len() as u64 {
                version.place = b'h';
            }
            self.put(&version);
        }
    }

    /// Stores a record whose content is in segments.
    pub fn put_segmented(&mut self, content: &[u8]) {
        let (stream, key) = (self.draw16("stream id"), self.draw("stream key"));
        let mut meta = Meta::of(NAME);
        meta.stream = Some((key, content.len() as u64));
        let mut version = self.version(1, body(&meta.encode(), &[]));
        version.kind = 2;
        version.stream = Some(stream);
        self.put(&version);
        let mut padded = content.to_vec();
        padded.resize(padme(content.len()), 0);
        self.put_segments(&padded);
    }

    pub fn put_segments(&mut self, padded: &[u8]) {
        let (stream, key) = (self.draw16("stream id"), self.draw("stream key"));
        let chunk_key = chunk_key(&key, &self.entry.charts[0].id, &stream, &[1, self.suite]);
        for (index, segment) in (0_u32..).zip(padded.chunks(1 << 20)) {
            let chunks = segment.chunks(1 << 16);
            let sealed = (u64::from(index) * 16..)
                .zip(chunks)
                .flat_map(|(n, chunk)| seal(self.suite, &chunk_key, n, chunk))
                .collect();
            self.storage.insert(self.segment(index), sealed);
        }
    }

    pub fn segment(&self, index: u32) -> Vec<u8> {
        let (chart, stream) = (&self.entry.charts[0].id, self.draw16("stream id"));
        [b"s", &chart[..], &stream, &index.to_be_bytes()].concat()
    }

    /// Returns the storage key of a journal page.
    pub fn page_at(&self, at: &Place) -> Vec<u8> {
        [b"j", &at.writer[..], &at.sequence.to_be_bytes()].concat()
    }

    /// Seals a journal page, stores it and returns its digest.
    pub fn put_page(&mut self, at: &Place, page: &Page) -> Key {
        self.put_page_with(at, page, Filter::Of(page))
    }

    /// Seals a page by a vault with another filter.
    pub fn put_page_with(&mut self, at: &Place, page: &Page, filter: Filter<'_>) -> Key {
        self.pages.insert(self.page_at(at), page.clone());
        self.put_own_page(at, &wincode::serialize(page).unwrap(), filter)
    }

    /// Seals the body of a page by a vault, with the authority tag behind the body.
    pub fn put_page_body(&mut self, at: &Place, body: &[u8]) -> Key {
        self.put_own_page(at, body, Filter::Any)
    }

    fn put_own_page(&mut self, at: &Place, body: &[u8], filter: Filter<'_>) -> Key {
        let authority = &self.keyring.authority_keys[self.journal_key];
        let (number, key) = (authority.number, authority.key);
        self.put_page_signed(at, body, filter, (number, &key))
    }

    /// Seals the body of a page by a vault, with a tag under this authority key.
    pub fn put_page_signed(
        &mut self,
        at: &Place,
        body: &[u8],
        filter: Filter<'_>,
        (number, key): (u32, &Key),
    ) -> Key {
        let vault = self.vault;
        self.put_page_of_kind(at, 18, filter, |before| {
            let signed = [body, &number.to_le_bytes()].concat();
            let position = (&at.writer, at.sequence);
            let digest = sha256(&[before, &signed]);
            let tag = authority_tag(key, &vault, position, &digest);
            [&signed[..], &tag].concat()
        })
    }

    /// Seals a page of this kind. `body` returns the body for the bytes before the ciphertext.
    pub fn put_page_of_kind(
        &mut self,
        at: &Place,
        kind: u8,
        filter: Filter<'_>,
        body: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Key {
        let journal_key = &self.keyring.journal_keys[self.journal_key];
        let mut head = vec![1, self.suite, kind, 0];
        head.extend(journal_key.number.to_le_bytes());
        let salt = self.draw(&format!("page salt {}", hex(&self.page_at(at))));
        let filter = match filter {
            Filter::Of(page) => self.filter(at, &page.filtered_jsubs(), &salt),
            Filter::Listing(jsubs) => self.filter(at, jsubs, &salt),
            Filter::Any => vec![0xff; 2],
            Filter::Bytes(bytes) => bytes.to_vec(),
        };
        let position = (&at.writer, at.sequence);
        let clear = (&head[..], &filter[..]);
        let (key, commitment) = page_key(&journal_key.key, &salt, &self.vault, position, clear);
        let before = [&head[..], &salt, &commitment, &filter].concat();
        let sealed = seal(self.suite, &key, 0, &body(&before));
        let value = [before, sealed].concat();
        let digest = sha256(&[&value]);
        self.storage.insert(self.page_at(at), value);
        digest
    }

    /// Returns the filter that lists these subjects.
    fn filter(&self, at: &Place, jsubs: &BTreeSet<[u8; 16]>, salt: &Key) -> Vec<u8> {
        let key = &self.keyring.journal_keys[self.journal_key].key;
        let count = jsubs.len().next_power_of_two().max(4);
        let values = jsubs.iter().map(|jsub| filter_value(key, salt, jsub));
        let mut values: BTreeSet<u16> = values.collect();
        for n in 0.. {
            if values.len() == count {
                break;
            }
            let drawn = self.draw(&format!("filter value {n} {}", hex(&self.page_at(at))));
            values.insert(u16::from_le_bytes([drawn[0], drawn[1]]));
        }
        let values = std::iter::once(count as u16).chain(values);
        values.flat_map(u16::to_le_bytes).collect()
    }

    /// Returns the bytes of the vector's archive file.
    pub fn archive(mut self, title: &str, expect: &str) -> Vec<u8> {
        self.about("title", title.as_bytes());
        self.about("expect", expect.as_bytes());
        self.storage.append(&mut self.about);
        write(&self.storage)
    }
}

pub fn key_file(secret: &Key) -> String {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let check = sha256(&[secret]);
    format!(
        "chartlock key file 1\n{}\n{}\n",
        hex(secret),
        hex(&check[..4])
    )
}
