//! Fuzz target for record readers, compared with a `Cursor`.
//!
//! A run reads and seeks in any order, in records without segments and with several, and
//! re-encrypts small records in between.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use chartlock::internals::envelope::{CHUNK, SEGMENT};
use chartlock::storage::MemoryStorage;
use chartlock::{
    Actor, CipherSuite, Purpose, RecordId, RecordReader, Session, Subject, Vault, VaultOptions,
};

use super::fixed::Fixed;
use super::input::Input;

/// The maximum number of operations in one run.
const OPERATIONS: usize = 24;
const LENGTHS: [usize; 8] = [
    0,
    1,
    3000,
    CHUNK,
    CHUNK + 1,
    SEGMENT - 1,
    SEGMENT + 1,
    2 * SEGMENT + 5,
];

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let what = input.byte();
    let clinic = Clinic::shared();
    let which = usize::from(what & 7);
    let vault = &clinic.vaults[usize::from(what >> 3 & 1)];
    let session = session(vault);
    let mut compared = ComparedReader {
        clinic,
        reader: session.reader(&id(which)).unwrap().unwrap(),
        plain: Cursor::new(&clinic.contents[which]),
        which,
    };
    for _ in 0..OPERATIONS {
        let Some(operation) = input.next() else { break };
        compared.step(operation, &mut input);
        assert_eq!(
            compared.reader.stream_position().unwrap(),
            compared.plain.position()
        );
    }
}

/// Vaults that all runs share. The content of the records never changes, because runs only read and
/// re-encrypt.
struct Clinic {
    /// The first vault uses one thread; the second vault reads ahead on another thread.
    vaults: [Vault; 2],
    contents: Vec<Vec<u8>>,
}

impl Clinic {
    fn shared() -> &'static Self {
        static CLINIC: OnceLock<Clinic> = OnceLock::new();
        CLINIC.get_or_init(|| {
            let storage = Arc::new(MemoryStorage::new());
            let options = VaultOptions::new().cipher_suite(CipherSuite::ChaCha20Poly1305);
            let created = options.clone().create(Arc::clone(&storage), &Fixed(1));
            drop(created.unwrap());
            let vaults = [1, 2].map(|threads| {
                let options = options.clone().threads(NonZeroUsize::new(threads).unwrap());
                options.open(Arc::clone(&storage), &Fixed(1)).unwrap()
            });
            let content = |length: usize| (0..length).map(|place| (place * 7 + place / 251) as u8);
            let contents: Vec<Vec<u8>> = LENGTHS.map(|length| content(length).collect()).into();
            for (which, content) in contents.iter().enumerate() {
                session(&vaults[0]).put(&id(which), content).unwrap();
            }
            Self { vaults, contents }
        })
    }
}

fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("fuzz").unwrap(), Purpose::Treatment)
}

/// Returns a different patient for each record, because re-encryption applies to all records of a
/// patient.
fn subject(which: usize) -> Subject {
    Subject::patient(&format!("MRN-{which}")).unwrap()
}

fn id(which: usize) -> RecordId {
    RecordId::new(subject(which), "Media/1").unwrap()
}

/// A record reader and a cursor over the same content.
struct ComparedReader<'a> {
    clinic: &'a Clinic,
    reader: RecordReader,
    plain: Cursor<&'a Vec<u8>>,
    which: usize,
}

impl ComparedReader<'_> {
    fn step(&mut self, operation: u8, input: &mut Input<'_>) {
        match operation % 8 {
            0 | 1 => self.read(input.number() as usize % (SEGMENT + 9)),
            2 => self.read_to_end(input.number() % (2 * SEGMENT as u64)),
            3 => self.seek(SeekFrom::Start(input.number())),
            4 => self.seek(SeekFrom::End(near(operation, input))),
            5 => self.seek(SeekFrom::Current(near(operation, input))),
            6 => self.read_at(input.number(), input.number() as usize % (SEGMENT + 9)),
            // Re-encrypt only small records, because large ones take too long.
            _ if LENGTHS[self.which] <= CHUNK + 1 => {
                let vault = &self.clinic.vaults[usize::from(operation >> 3 & 1)];
                vault.reencrypt_subject(&subject(self.which)).unwrap();
            }
            _ => {}
        }
    }

    /// Reads once. The reader may return fewer bytes than requested, but at least one byte before
    /// the end.
    fn read(&mut self, length: usize) {
        let mut out = vec![0; length];
        let read = self.reader.read(&mut out).unwrap();
        let mut expected = vec![0; read];
        self.plain.read_exact(&mut expected).unwrap();
        assert_eq!(out[..read], expected);
        let ended = self.plain.position() >= self.plain.get_ref().len() as u64;
        assert!(read > 0 || length == 0 || ended);
    }

    fn read_to_end(&mut self, length: u64) {
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        self.reader
            .by_ref()
            .take(length)
            .read_to_end(&mut out)
            .unwrap();
        self.plain
            .by_ref()
            .take(length)
            .read_to_end(&mut expected)
            .unwrap();
        assert_eq!(out, expected);
    }

    fn seek(&mut self, to: SeekFrom) {
        let (now, expected) = (self.reader.seek(to), self.plain.seek(to));
        assert_eq!(
            now.map_err(|error| error.kind()),
            expected.map_err(|error| error.kind())
        );
    }

    fn read_at(&mut self, offset: u64, length: usize) {
        let mut out = vec![0; length];
        let read = self.reader.read_at(offset, &mut out).unwrap();
        let content = self.plain.get_ref();
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(content.len());
        let expected = &content[from..][..length.min(content.len() - from)];
        assert_eq!(out[..read], *expected);
    }
}

/// Returns a distance that usually stays within a record.
fn near(operation: u8, input: &mut Input<'_>) -> i64 {
    let far = input.number() as i64;
    match operation >> 3 & 3 {
        0 => far,
        1 => far % 100,
        2 => -(far % (2 * SEGMENT as i64)).abs(),
        _ => far % (SEGMENT as i64),
    }
}
