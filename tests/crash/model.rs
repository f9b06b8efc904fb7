//! Comparison of the stored records with the acknowledged changes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use chartlock::storage::Storage;
use chartlock::{Error, RecordId, Session, Subject, Vault};

use crate::common::content::{MISFILED, NAMES, batch, content};
use crate::common::{Fixed, session, subject};
use crate::journal::ExpectedEntries;
use crate::place;

pub(crate) fn patients(thread: u64) -> [String; 2] {
    [0, 1].map(|patient| format!("patient-{thread}-{patient}"))
}

/// Labels under which the model stores state without a history: the misfiled record, the legal holds
/// and the retention date of a patient.
const SINGLE: [&str; 3] = [MISFILED, "held", "retained"];

/// The versions of a record, each as a digest of its content; `None` for a retraction.
pub(crate) type Versions = Vec<Option<u64>>;

/// The records of a patient; `None` for an erased patient.
pub(crate) type Chart = Option<BTreeMap<String, Versions>>;

#[derive(Default, Clone)]
pub(crate) struct Model {
    pub(crate) created: bool,
    pub(crate) charts: BTreeMap<String, Chart>,
    expected_entries: ExpectedEntries,
}

impl Model {
    pub(crate) fn acknowledge(&mut self, verb: &str, answer: &str) {
        let words: Vec<_> = verb.split(' ').collect();
        match words[0] {
            "create" => self.created = true,
            "checkpoint" => self.expected_entries.checkpoint(answer),
            _ => {}
        }
        let Some(patient) = words.get(1) else { return };
        let chart = self
            .charts
            .entry((*patient).to_owned())
            .or_insert_with(new_chart);
        let before = chart.clone();
        *chart = applied(&before, verb);
        // The answer of a put is the new version's number.
        if let (Some(name), Ok(version)) = (words.get(2), answer.parse::<usize>()) {
            assert_eq!(chart.as_ref().unwrap()[*name].len(), version);
        } else if words[0] == "remove" {
            // A retraction without a version in its answer changed nothing.
            let last = before
                .as_ref()
                .unwrap()
                .get(words[2])
                .and_then(|versions| versions.last());
            assert!(last.copied().flatten().is_none());
            *chart = before;
            return;
        }
        let Some(records) = chart else {
            return self.expected_entries.erased(patient);
        };
        let histories = NAMES.iter().filter_map(|name| records.get_key_value(*name));
        for (name, versions) in histories {
            let known = before.as_ref().and_then(|before| before.get(name));
            if known.map_or(0, Vec::len) < versions.len() {
                let retracted = words[0] == "remove";
                self.expected_entries
                    .wrote(patient, name, versions.len(), retracted);
            }
        }
    }

    /// Asserts that the stored records match the acknowledged changes, with or without the
    /// unfinished operation, and adopts the stored state. Returns the numbers of leftover uploads,
    /// leftover segments and expected journal entries.
    pub(crate) fn compare(
        &mut self,
        directory: &Path,
        begun: &BTreeMap<String, String>,
    ) -> [u64; 3] {
        let storage = place::open(directory).unwrap();
        let vault = match Vault::open(Arc::clone(&storage), &Fixed(1)) {
            Ok(vault) => vault,
            Err(error) => {
                assert_eq!((error, self.created), (Error::NoVault, false));
                return [0; 3];
            }
        };
        self.created = true;
        let entries = self
            .expected_entries
            .compare(&vault, storage.is_transactional());
        for patient in (0..2).flat_map(patients) {
            let before = self.charts.get(&patient).cloned().unwrap_or_else(new_chart);
            let unfinished = begun
                .values()
                .find(|verb| verb.split(' ').nth(1) == Some(&patient));
            let after = unfinished.map_or_else(|| before.clone(), |verb| applied(&before, verb));
            let stored = read_chart(&vault, &patient);
            match &stored {
                None => assert!(
                    before.is_none() || after.is_none(),
                    "erased without a request"
                ),
                Some(records) => {
                    for name in NAMES.into_iter().chain(SINGLE) {
                        let of = |chart: &Chart| {
                            chart.as_ref().map(|records| records.get(name).cloned())
                        };
                        let now = Some(records.get(name).cloned());
                        assert!(
                            now == of(&before) || now == of(&after),
                            "{name} within {unfinished:?}: {now:?} for {:?}",
                            of(&before)
                        );
                    }
                }
            }
            self.charts.insert(patient, stored);
        }
        let usage = vault.key_usage().unwrap();
        assert_eq!(
            (usage.unreadable_entries, usage.unreadable_versions),
            (0, 0)
        );
        #[cfg(feature = "internals")]
        let [uploads, segments] = crate::sweep::collect_all(&storage);
        #[cfg(not(feature = "internals"))]
        let [uploads, segments] = [0; 2];
        [uploads, segments, entries]
    }
}

fn new_chart() -> Chart {
    Some(BTreeMap::new())
}

/// Returns the chart after an operation.
fn applied(before: &Chart, verb: &str) -> Chart {
    let words: Vec<_> = verb.split(' ').collect();
    let mut records = before.clone().unwrap_or_default();
    let mut put = |name: &str, version| records.entry(name.to_owned()).or_default().push(version);
    match words[0] {
        "erase" => return None,
        "readmit" => return new_chart(),
        "put" => {
            let body = content(words[3].parse().unwrap(), words[2]);
            put(words[2], Some(digest(&body)));
        }
        "many" => {
            let seed: u64 = words[2].parse().unwrap();
            for (index, name) in (0..).zip(batch()) {
                put(name, Some(digest(&content(seed + index, name))));
            }
        }
        "remove" => {
            let last = records.get(words[2]).and_then(|versions| versions.last());
            if last.is_some_and(Option::is_some) {
                records.get_mut(words[2]).unwrap().push(None);
            }
        }
        "misfile" => {
            let body = content(words[2].parse().unwrap(), MISFILED);
            records.insert(MISFILED.to_owned(), vec![Some(digest(&body))]);
        }
        "expunge" => drop(records.remove(MISFILED)),
        "hold" => drop(records.insert("held".to_owned(), vec![Some(1)])),
        "release" => drop(records.remove("held")),
        "retain" => {
            let until = words[2].parse().ok();
            records.insert("retained".to_owned(), vec![until]);
        }
        _ => {}
    }
    Some(records)
}

/// Reads a patient's chart through every operation that reads.
pub(crate) fn read_chart(vault: &Vault, patient: &str) -> Chart {
    let session = session(vault);
    let subject = subject(patient);
    let mut records = BTreeMap::new();
    for name in NAMES {
        let id = RecordId::new(subject.clone(), name).unwrap();
        let current = match session.get(&id) {
            Err(Error::Erased) => return None,
            current => current.unwrap(),
        };
        let history = session.history(&id).unwrap();
        let versions: Versions = (1..=history.len() as u64)
            .map(|version| {
                session
                    .get_version(&id, version)
                    .unwrap()
                    .map(|record| digest(&record))
            })
            .collect();
        let last = versions.last().copied().flatten();
        assert_eq!(current.map(|record| digest(&record)), last);
        if !versions.is_empty() {
            records.insert(name.to_owned(), versions);
        }
    }
    let misfiled = RecordId::new(subject.clone(), MISFILED).unwrap();
    if let Some(record) = session.get(&misfiled).unwrap() {
        records.insert(MISFILED.to_owned(), vec![Some(digest(&record))]);
    }
    let mut listed: Vec<_> = session
        .list(&subject)
        .unwrap()
        .map(|info| info.unwrap().name().to_owned())
        .collect();
    listed.sort();
    let live = records
        .iter()
        .filter(|(_, versions)| versions.last().unwrap().is_some());
    assert_eq!(
        listed,
        live.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    );
    read_restrictions(&session, &subject, &mut records);
    Some(records)
}

/// Adds the legal holds and the retention date of a patient to `records`.
fn read_restrictions(
    session: &Session,
    subject: &Subject,
    records: &mut BTreeMap<String, Versions>,
) {
    match session.holds(subject) {
        Err(Error::UnknownSubject) => return,
        Ok(holds) if holds.is_empty() => {}
        holds => drop(records.insert("held".to_owned(), vec![Some(holds.unwrap().len() as u64)])),
    }
    if let Some(until) = session.retained_until(subject).unwrap() {
        let seconds = until.duration_since(UNIX_EPOCH).unwrap().as_secs();
        records.insert("retained".to_owned(), vec![Some(seconds)]);
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
