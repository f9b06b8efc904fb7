//! Steps of the example that use the vault.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chartlock::keys::Passphrase;
use chartlock::storage::{Projection, Scan, Storage};
use chartlock::{
    Actor, CipherSuite, FileStorage, Purpose, Session, Subject, SubjectKind, Vault, VaultOptions,
    report::KeyUsage,
};

use crate::Outcome;
use crate::documents::{Documents, Record};
use crate::steps::{Steps, bar, counter};

/// The number of records in one durable commit.
const BATCH: usize = 1000;

pub(crate) struct Clinic<'a> {
    documents: &'a Documents,
    place: &'a Path,
    credential: Passphrase,
    suite: CipherSuite,
}

/// The results to print.
pub(crate) struct Result {
    pub(crate) before: KeyUsage,
    pub(crate) after: KeyUsage,
    /// The objects of each class: class name, count, and size of keys and values in bytes.
    pub(crate) objects: Vec<(&'static str, u64, u64)>,
    /// The count and the size in bytes of the closed storage's files.
    pub(crate) files: (u64, u64),
}

impl<'a> Clinic<'a> {
    pub(crate) fn new(
        documents: &'a Documents,
        place: &'a Path,
        passphrase: &str,
        suite: CipherSuite,
    ) -> Self {
        Self {
            documents,
            place,
            credential: Passphrase::new(passphrase),
            suite,
        }
    }

    pub(crate) fn run(&self, steps: &mut Steps) -> Outcome<Result> {
        let vault = steps.time("create the vault", "", || {
            Ok((self.create_at(self.place)?, 0, None))
        })?;
        self.seal(&vault, steps)?;
        self.compare(&vault, steps)?;
        let before = key_usage(&vault, steps)?;
        self.rotate(&vault, steps)?;
        let after = key_usage(&vault, steps)?;
        drop(vault);

        let (vault, storage) = self.reopen(steps)?;
        self.compare(&vault, steps)?;
        let objects = objects(&*storage)?;
        drop((vault, storage));
        Ok(Result {
            before,
            after,
            objects,
            files: files_below(self.place)?,
        })
    }

    pub(crate) fn create_at(&self, place: &Path) -> Outcome<Vault> {
        let storage = FileStorage::open(place)?;
        let options = VaultOptions::new().cipher_suite(self.suite);
        let vault = options.create(storage, &self.credential);
        vault.map_err(|error| format!("{}: {error}", place.display()).into())
    }

    fn seal(&self, vault: &Vault, steps: &mut Steps) -> Outcome<()> {
        let session = session(vault)?;
        let all = self.documents.record_bytes();
        let bar = bar("encrypting", all)?;
        steps.time("encrypt and store", "records", || {
            for batch in self.documents.records.chunks(BATCH) {
                let puts = batch
                    .iter()
                    .map(|record| (&record.id, self.documents.document(record)));
                for outcome in session.put_many(puts)? {
                    outcome?;
                }
                bar.inc(batch.iter().map(|record| self.length(record)).sum());
            }
            bar.finish_and_clear();
            Ok(((), self.documents.records.len() as u64, Some(all)))
        })
    }

    /// Reads all records and stops at the first difference.
    fn compare(&self, vault: &Vault, steps: &mut Steps) -> Outcome<()> {
        let session = session(vault)?;
        let all = self.documents.record_bytes();
        let bar = bar("reading back", all)?;
        steps.time("read back and compare", "records", || {
            for record in &self.documents.records {
                self.compare_one(&session, record)?;
                bar.inc(self.length(record));
            }
            bar.finish_and_clear();
            Ok(((), self.documents.records.len() as u64, Some(all)))
        })
    }

    fn compare_one(&self, session: &Session, record: &Record) -> Outcome<()> {
        let stored = session.get(&record.id)?;
        let same = stored.is_some_and(|stored| {
            let info = stored.info();
            let labels = info
                .labels()
                .all(|label| record.labels.iter().any(|expected| expected == label));
            stored[..] == *self.documents.content(record)
                && info.content_type() == Some(record.content_type)
                && info.labels().count() == record.labels.len()
                && labels
        });
        if !same {
            return Err(format!("{} differs from what was stored", record.id.name()).into());
        }
        Ok(())
    }

    /// Rotates the master key and one patient's key, then re-encrypts another patient's records.
    fn rotate(&self, vault: &Vault, steps: &mut Steps) -> Outcome<()> {
        let (counter, listener) = counter()?;
        let vault = vault.with_progress(listener);
        steps.time("rotate the master key", "entries", || {
            let report = vault.rotate_master_key()?;
            Ok(((), report.entries_resealed, None))
        })?;
        if let Some((many_records, many_bytes)) = self.two_patients() {
            steps.time("rotate one patient's key", "records", || {
                let report = vault.rotate_subject_key(many_records)?;
                Ok(((), report.rewrapped, None))
            })?;
            steps.time("re-encrypt one patient", "records", || {
                let report = vault.reencrypt_subject(many_bytes)?;
                Ok(((), report.reencrypted, Some(report.bytes)))
            })?;
        }
        counter.finish_and_clear();
        Ok(())
    }

    /// Returns the patient with the most records and, among the others, the patient with the most
    /// bytes.
    fn two_patients(&self) -> Option<(&Subject, &Subject)> {
        let mut sizes: HashMap<&Subject, (u64, u64)> = HashMap::new();
        for record in &self.documents.records {
            let subject = record.id.subject();
            if subject.kind() == SubjectKind::Patient {
                let size = sizes.entry(subject).or_default();
                *size = (size.0 + 1, size.1 + self.length(record));
            }
        }
        let (many_records, _) = sizes
            .iter()
            .max_by_key(|(subject, size)| (size.0, **subject))?;
        let many_bytes = sizes
            .iter()
            .filter(|(subject, _)| *subject != many_records)
            .max_by_key(|(subject, size)| (size.1, **subject));
        let (many_bytes, _) = many_bytes.unwrap_or((many_records, &(0, 0)));
        Some((*many_records, *many_bytes))
    }

    fn reopen(&self, steps: &mut Steps) -> Outcome<(Vault, Arc<FileStorage>)> {
        steps.time("reopen the vault", "", || {
            let storage = Arc::new(FileStorage::open(self.place)?);
            let vault = Vault::open(Arc::clone(&storage), &self.credential)?;
            Ok(((vault, storage), 0, None))
        })
    }

    fn length(&self, record: &Record) -> u64 {
        self.documents.content(record).len() as u64
    }
}

fn session(vault: &Vault) -> Outcome<Session> {
    Ok(vault.session(Actor::new("clinic example")?, Purpose::SystemAdministration))
}

fn key_usage(vault: &Vault, steps: &mut Steps) -> Outcome<KeyUsage> {
    steps.time("count the objects under each key", "records", || {
        let usage = vault.key_usage()?;
        let records = usage.records + usage.earlier_versions;
        Ok((usage, records, None))
    })
}

/// Counts the objects of each class, which anyone with access to the storage can do without a key.
fn objects(storage: &dyn Storage) -> Outcome<Vec<(&'static str, u64, u64)>> {
    let classes: [(&str, &[u8]); 5] = [
        ("records", b"r"),
        ("earlier versions", b"h"),
        ("content segments", b"s"),
        ("patient entries", b"p"),
        ("header", b"v"),
    ];
    let mut objects = Vec::new();
    for (name, prefix) in classes {
        let (mut number, mut size) = (0, 0);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = storage.scan(Scan {
                prefix,
                after: after.as_deref(),
                limit: BATCH,
                projection: Projection::Values,
            })?;
            for item in &page.items {
                number += 1;
                size += (item.key.len() + item.value.len()) as u64;
            }
            after = page.items.last().map(|item| item.key.clone()).or(after);
            if !page.more {
                break;
            }
        }
        objects.push((name, number, size));
    }
    Ok(objects)
}

fn files_below(directory: &Path) -> Outcome<(u64, u64)> {
    let mut files = (0, 0);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (number, size) = match entry.file_type()?.is_dir() {
            true => files_below(&entry.path())?,
            false => (1, entry.metadata()?.len()),
        };
        files = (files.0 + number, files.1 + size);
    }
    Ok(files)
}
