//! Operations on patients, and the acknowledged content of their records.

use std::collections::BTreeMap;

use chartlock::{Document, Error, ErrorKind, RecordId, Session};

use crate::common::content::{Random, content};
use crate::common::record;

const NAMES: [&str; 4] = ["a", "b", "large", "huge"];

/// Acknowledged contents of records, and the errors that operations returned.
#[derive(Default)]
pub(crate) struct Patients {
    records: BTreeMap<(String, String), Option<u64>>,
    pub(crate) errors: Vec<Error>,
    /// Number of reads that returned content.
    pub(crate) reads: u64,
}

impl Patients {
    /// Puts a random record. Sometimes also retracts record `b`, puts eight records with one call,
    /// or does both.
    pub(crate) fn change(&mut self, session: &Session, random: &mut Random) {
        let patient = format!("MRN-{}", random.below(3));
        let name = match random.below(16) {
            0 => "huge",
            1..4 => "large",
            number => NAMES[number as usize % 2],
        };
        self.put(session, &patient, name, random.next() >> 16);
        if random.below(8) == 0 {
            self.retract(session, &patient, "b");
        }
        if random.below(8) == 0 {
            self.put_many(session, &patient, random.next() >> 16);
        }
    }

    pub(crate) fn put(&mut self, session: &Session, patient: &str, name: &str, seed: u64) {
        let (id, body) = (record(patient, name), content(seed, name));
        let put = match name {
            "huge" => session.put_reader(&id, body.as_slice()),
            _ => session.put(&id, Document::new(&body)),
        };
        if self.settle(put).is_some() {
            self.acknowledge(patient, name, Some(seed));
        }
    }

    fn put_many(&mut self, session: &Session, patient: &str, seed: u64) {
        let names: Vec<_> = (0..8).map(|number| format!("m{number}")).collect();
        let ids: Vec<RecordId> = names.iter().map(|name| record(patient, name)).collect();
        let bodies: Vec<_> = names.iter().map(|name| content(seed, name)).collect();
        let documents = ids.iter().zip(bodies.iter().map(Document::from));
        let Some(puts) = self.settle(session.put_many(documents)) else {
            return;
        };
        for (name, put) in names.iter().zip(puts) {
            if self.settle(put).is_some() {
                self.acknowledge(patient, name, Some(seed));
            }
        }
    }

    fn retract(&mut self, session: &Session, patient: &str, name: &str) {
        if let Some(Some(_)) = self.settle(session.retract(&record(patient, name))) {
            self.acknowledge(patient, name, None);
        }
    }

    fn acknowledge(&mut self, patient: &str, name: &str, seed: Option<u64>) {
        self.records.insert((patient.into(), name.into()), seed);
    }

    /// Returns the result, or records the error.
    pub(crate) fn settle<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    pub(crate) fn forget(&mut self, patient: &str) {
        self.records.retain(|(known, _), _| known != patient);
    }

    /// Reads a record, and compares its content with the acknowledged content. Records the error if
    /// the read fails.
    pub(crate) fn read(&mut self, session: &Session, patient: &str, name: &str) {
        let expected = self.records.get(&(patient.to_owned(), name.to_owned()));
        let expected = expected.copied().flatten();
        match session.get(&record(patient, name)) {
            Ok(found) => {
                self.reads += u64::from(found.is_some());
                let body = expected.map(|seed| content(seed, name));
                assert!(
                    found.map(|found| found.to_vec()) == body,
                    "{patient} {name}: another content than was acknowledged"
                );
            }
            Err(error) => self.errors.push(error),
        }
    }

    /// Reads all records with an acknowledged change. No read may fail.
    pub(crate) fn check(&mut self, session: &Session) {
        let errors = self.errors.len();
        let records: Vec<_> = self.records.keys().cloned().collect();
        for (patient, name) in records {
            self.read(session, &patient, &name);
        }
        assert_eq!(self.errors[errors..], [], "reads after there was room");
    }

    /// Asserts that all recorded errors are of one kind.
    pub(crate) fn assert_only(&self, kind: ErrorKind) {
        let other = self.errors.iter().find(|error| error.kind() != kind);
        assert_eq!(other, None, "among {} errors", self.errors.len());
    }
}
