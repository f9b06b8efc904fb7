//! Benchmark of verifying a large vault: time, processor time and peak memory, for an honest vault and for
//! the same vault after attacks.
//!
//! `CHARTLOCK_VERIFY_RECORDS` sets the number of records (300,000 by default). The journal contains
//! one entry for each put and, for every 3 records, 7 entries of reads: with the default, 1,000,000
//! entries. `CHARTLOCK_VERIFY_PLANTED` sets the number of planted keys (1,000,000 by default), and a tenth
//! of it is the number of planted patient entries, because each fills two pages of a file storage.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/credential.rs"]
mod credential;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use chartlock::access::AccessOutcome;
use chartlock::internals::crypto::{DataKey, Place, StreamKey, record_tag};
use chartlock::internals::envelope::{Address, Body, Meta, VERSION_MAX, digest, seal};
use chartlock::internals::journal::{
    Act, Context, EntryDraft, Page, PageId, RecordRef, Stage, SubjectRef, Target,
};
use chartlock::internals::keys::{Chart, Header, Unlocked, open_entry, wrap};
use chartlock::internals::vault::sealer;
use chartlock::storage::{Expect, Projection, Scan, Storage, Transaction};
use chartlock::{Actor, Document, FileStorage, Operation, Purpose, RecordId, Vault};
use credential::Fixed;

/// The environment variable with the vault's directory. The parent process sets the variable for
/// the child process that verifies the vault.
const DIRECTORY: &str = "CHARTLOCK_VERIFY_DIRECTORY";
const BATCH: usize = 1000;
/// The number of records of each patient, as is typical for a practice.
const RECORDS_OF_A_PATIENT: usize = 300;
const CONTENT: [u8; 200] = [7; 200];
/// Length that forged records claim.
const LENGTH: u64 = 1 << 63;
/// Length of a planted value.
const JUNK: usize = 200;
/// Clock ticks of processor time in a second, as Linux reports them.
const TICKS: f64 = 100.0;

/// Attack on a number of objects of a storage.
type Attack = fn(&dyn Storage, usize);

fn name(record: usize) -> String {
    format!("Observation/{record:08}")
}

fn id(record: usize) -> RecordId {
    let patient = record / RECORDS_OF_A_PATIENT;
    RecordId::patient(&format!("MRN-{patient:06}"), &name(record)).unwrap()
}

fn number_from(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// Returns the peak of this process's resident memory, in KiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits = line.and_then(|line| line.split_whitespace().next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Returns the processor time of this process, in seconds.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program can contain spaces, and ends with the last parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|ticks| ticks.parse::<f64>().ok());
    (ticks().unwrap_or(0.0) + ticks().unwrap_or(0.0)) / TICKS
}

fn fill(vault: &Vault, records: usize) {
    let session = vault.session(Actor::new("bench").unwrap(), Purpose::Operations);
    let ids: Vec<_> = (0..records).map(id).collect();
    for ids in ids.chunks(BATCH) {
        let documents = ids.iter().map(|id| (id, Document::new(&CONTENT)));
        for outcome in session.put_many(documents).unwrap() {
            outcome.unwrap();
        }
    }
    for read in 0..records * 7 / 3 {
        session.get(&ids[read % records]).unwrap().unwrap();
    }
}

/// Figures of one verification.
#[derive(Debug, Clone, Copy)]
struct Figures {
    seconds: f64,
    processor: f64,
    /// Peak memory in KiB.
    memory: f64,
    /// Number of stored objects.
    objects: f64,
}

/// Verifies the vault and prints the figures. Runs in a child process, because the memory used for
/// filling the vault would hide the peak.
fn verify(directory: &Path) {
    let storage = Arc::new(FileStorage::open(directory).unwrap());
    let objects = count(&*storage);
    let vault = Vault::open(storage, &Fixed(1)).unwrap();
    let (start, before) = (Instant::now(), processor_time());
    let report = vault.verify(None).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let processor = processor_time() - before;
    let findings = report.journal.len()
        + report.entries.len()
        + report.records.len()
        + report.unattested.len();
    println!(
        "{seconds} {processor} {} {objects} {} {findings}",
        peak_memory(),
        report.counts.entries
    );
}

fn count(storage: &dyn Storage) -> u64 {
    let (mut count, mut after) = (0, Vec::new());
    loop {
        let scan = Scan {
            prefix: b"",
            after: Some(&after),
            limit: 10_000,
            projection: Projection::Keys,
        };
        let page = storage.scan(scan).unwrap();
        count += page.items.len() as u64;
        match page.items.into_iter().next_back() {
            Some(last) if page.more => after = last.key,
            _ => return count,
        }
    }
}

/// Verifies a directory in a child process, and prints its figures beside those of the honest vault.
fn measure(name: &str, directory: &Path, honest: Option<&Figures>) -> Figures {
    let verified = Command::new(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let line = String::from_utf8(verified.stdout).unwrap();
    let numbers: Vec<f64> = line
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let [seconds, processor, memory, objects, entries, findings] = numbers[..] else {
        unreachable!("the child process prints six numbers");
    };
    let figures = Figures {
        seconds,
        processor,
        memory,
        objects,
    };
    print!(
        "  {name:<9} {objects:>8} objects, {entries:>8} entries, {findings:>7} findings: {seconds:>6.1} s, {processor:>6.1} s of processor time, {:>5.0} MiB",
        memory / 1024.0,
    );
    match honest {
        // An honest vault of as many objects has entries in proportion.
        Some(honest) => {
            let share = objects / honest.objects;
            println!(
                "; for as many objects, {:.2} times the time, {:.2} times the processor time, {:.2} times the memory",
                seconds / honest.seconds / share,
                processor / honest.processor / share,
                memory / honest.memory / share,
            );
        }
        None => println!(),
    }
    figures
}

/// Stores many values, in commits of a limited size.
fn put_all(storage: &dyn Storage, puts: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) {
    let mut puts = puts.peekable();
    while puts.peek().is_some() {
        let batch = puts.by_ref().take(BATCH);
        let batch =
            batch.map(|(key, value)| Transaction::new().put(&key[..], &value[..], Expect::Any));
        for result in storage.commit(&batch.collect::<Vec<_>>()) {
            result.unwrap();
        }
    }
}

/// Keys of a vault, as an insider with a credential has them.
struct Insider {
    header: Header,
    unlocked: Unlocked,
}

impl Insider {
    fn new(storage: &dyn Storage) -> Self {
        let stored = storage.read(&[b"v"]).unwrap().pop().flatten().unwrap();
        let header = Header::parse(&stored.value).unwrap();
        let unlocked = header.unlock(&Fixed(1)).unwrap();
        Self { header, unlocked }
    }

    /// Calls `with` for each chart, with the numbers of its records.
    fn each_chart(
        &self,
        storage: &dyn Storage,
        records: usize,
        mut with: impl FnMut(&Chart, std::ops::Range<usize>),
    ) {
        let scan = Scan {
            prefix: b"p",
            after: None,
            limit: records,
            projection: Projection::Values,
        };
        for item in storage.scan(scan).unwrap().items {
            let tag = item.key[1..].try_into().unwrap();
            let vault = self.header.vault();
            let entry = open_entry(&item.value, &self.unlocked.keyring, vault, &tag).unwrap();
            let patient: usize = entry.subject().identifier()[4..].parse().unwrap();
            let first = patient * RECORDS_OF_A_PATIENT;
            let last = (first + RECORDS_OF_A_PATIENT).min(records);
            with(entry.chart().unwrap(), first..last);
        }
    }

    /// Seals a version of a record under the patient's key.
    fn forge(&self, chart: &Chart, record: usize, version: u64, length: Option<u64>) -> Forged {
        let name = name(record);
        let address = Address {
            chart: *chart.id(),
            record: record_tag(chart.name_key(), &name).unwrap(),
        };
        let meta = Meta {
            name: name.into(),
            ..Meta::default()
        };
        let stream = StreamKey::random().unwrap();
        let body = match length {
            None => Body::Inline(&CONTENT),
            Some(length) => Body::Segmented {
                stream: [7; 16],
                key: &stream,
                length,
            },
        };
        let (suite, patient) = (self.header.suite(), chart.active_key());
        let data_key = DataKey::random().unwrap();
        let value = seal(
            suite,
            &address,
            version,
            &meta,
            body,
            data_key,
            |commitment, key| {
                let number = patient.number;
                Ok((
                    number,
                    wrap(suite, &patient.key, Place::Current, number, commitment, key)?,
                ))
            },
        );
        Forged {
            address,
            value: value.unwrap(),
        }
    }

    /// Seals a page of a chain of its own.
    fn page(&self, number: usize, drafts: &[EntryDraft]) -> (Vec<u8>, Vec<u8>) {
        let sealer = sealer(
            self.header.suite(),
            self.header.vault(),
            &self.unlocked.keyring,
        );
        let staged = drafts.iter().map(|draft| (draft, Stage::Done));
        let page = Page::new([0; 32], Vec::new(), staged).unwrap();
        let mut writer = [9; 16];
        writer[8..].copy_from_slice(&number.to_be_bytes());
        let place = PageId {
            writer,
            sequence: 0,
        };
        let key = [b"j", &writer[..], &[0; 8]].concat();
        (key, page.seal(&sealer, &place).unwrap())
    }
}

/// A forged record.
struct Forged {
    address: Address,
    value: Vec<u8>,
}

impl Forged {
    fn key(&self) -> Vec<u8> {
        [b"r", &self.address.chart[..], &self.address.record].concat()
    }
}

/// Replaces each record by one that claims the highest version, as pages of the journal do.
fn claim_versions(storage: &dyn Storage, records: usize) {
    let insider = Insider::new(storage);
    let mut pages = 0;
    insider.each_chart(storage, records, |chart, records| {
        let forged = records.map(|record| insider.forge(chart, record, VERSION_MAX, None));
        let forged: Vec<_> = forged.collect();
        let act = Act::new(Arc::new(Context::default()), Operation::Put, "");
        let drafts: Vec<_> = (forged.iter())
            .map(|forged| {
                let target = Target::Version {
                    subject: SubjectRef {
                        chart: forged.address.chart,
                        ..SubjectRef::default()
                    },
                    record: RecordRef {
                        tag: forged.address.record,
                        ..RecordRef::default()
                    },
                    version: VERSION_MAX,
                    digest: digest(&forged.value).unwrap(),
                };
                act.draft(1, target, AccessOutcome::Done)
            })
            .collect();
        let page = insider.page(pages, &drafts);
        pages += 1;
        let records = forged
            .into_iter()
            .map(|forged| (forged.key(), forged.value));
        put_all(storage, records.chain([page]));
    });
}

/// Replaces each record by one that claims content of a huge length.
fn claim_lengths(storage: &dyn Storage, records: usize) {
    let insider = Insider::new(storage);
    insider.each_chart(storage, records, |chart, records| {
        let forged = records.map(|record| insider.forge(chart, record, 1, Some(LENGTH)));
        put_all(storage, forged.map(|forged| (forged.key(), forged.value)));
    });
}

/// Stores junk under keys of journal pages and of records, each of a chain or chart of its own.
fn plant(storage: &dyn Storage, planted: usize) {
    let keys = (0..planted as u64).map(|number| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let id = [mixed, number.to_be_bytes()].concat();
        match number % 2 {
            0 => [b"j", &id[..], &[0; 8]].concat(),
            _ => [b"r", &id[..], &id[..]].concat(),
        }
    });
    let value = junk(18, 1);
    put_all(storage, keys.map(|key| (key, value.clone())));
}

/// Stores junk under keys of patient entries.
fn plant_entries(storage: &dyn Storage, planted: usize) {
    let keys = (0..planted as u64).map(|number| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        [b"p", &mixed[..], &number.to_be_bytes()].concat()
    });
    // Half of the entries are under a master key that the vault does not have.
    let values = [1, 9].map(|number| junk(16, number)).into_iter().cycle();
    put_all(storage, keys.zip(values));
}

/// Returns a value of the right format, whose commitment and ciphertext are junk.
fn junk(kind: u8, key_number: u8) -> Vec<u8> {
    let mut value = vec![0x55; JUNK];
    value[..8].copy_from_slice(&[1, 1, kind, 0, key_number, 0, 0, 0]);
    value
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn main() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return verify(directory.as_ref());
    }
    let records = number_from("CHARTLOCK_VERIFY_RECORDS", 300_000);
    let planted = number_from("CHARTLOCK_VERIFY_PLANTED", 1_000_000);
    println!("verify");
    let scratch = tempfile::tempdir().unwrap();
    let honest = scratch.path().join("clinic");
    let storage = Arc::new(FileStorage::open(&honest).unwrap());
    fill(
        &Vault::create(Arc::clone(&storage), &Fixed(1)).unwrap(),
        records,
    );
    storage.close().unwrap();
    drop(storage);
    let figures = measure("honest", &honest, None);
    let attacks: [(&str, Attack, usize); 4] = [
        ("versions", claim_versions, records),
        ("lengths", claim_lengths, records),
        ("planted", plant, planted),
        ("entries", plant_entries, planted / 10),
    ];
    for (name, attack, objects) in attacks {
        let directory = scratch.path().join(name);
        copy(&honest, &directory);
        let storage = FileStorage::open(&directory).unwrap();
        attack(&storage, objects);
        storage.close().unwrap();
        drop(storage);
        measure(name, &directory, Some(&figures));
        fs::remove_dir_all(&directory).unwrap();
    }
}
