//! What was acknowledged, compared with what stands.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use chartlock::storage::Storage;
use chartlock::{Error, RecordId, Session, Subject, Vault};

use crate::common::{Fixed, session, subject};
use crate::content::{MISFILED, NAMES, batch, content};
use crate::journal::Told;
use crate::place;

pub(crate) fn patients(thread: u64) -> [String; 2] {
    [0, 1].map(|patient| format!("patient-{thread}-{patient}"))
}

/// What a patient has beside records with a history: one value each, or none.
const SINGLE: [&str; 3] = [MISFILED, "held", "retained"];

/// Versions of a record, each by a digest of its content; `None` for a retraction.
type Versions = Vec<Option<u64>>;

/// The records of a patient; `None` once erased.
type Chart = Option<BTreeMap<String, Versions>>;

#[derive(Default, Clone)]
pub(crate) struct Model {
    created: bool,
    charts: BTreeMap<String, Chart>,
    told: Told,
}

impl Model {
    pub(crate) fn acknowledge(&mut self, verb: &str, answer: &str) {
        let words: Vec<_> = verb.split(' ').collect();
        match words[0] {
            "create" => self.created = true,
            "checkpoint" => self.told.checkpoint(answer),
            _ => {}
        }
        let Some(patient) = words.get(1) else { return };
        let chart = self
            .charts
            .entry((*patient).to_owned())
            .or_insert_with(begun_chart);
        let before = chart.clone();
        *chart = applied(&before, verb);
        // The answer names the version that is new.
        if let (Some(name), Ok(version)) = (words.get(2), answer.parse::<usize>()) {
            assert_eq!(chart.as_ref().unwrap()[*name].len(), version);
        } else if words[0] == "remove" {
            // Nothing was there to be retracted.
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
            return self.told.erased(patient);
        };
        let histories = NAMES.iter().filter_map(|name| records.get_key_value(*name));
        for (name, versions) in histories {
            let known = before.as_ref().and_then(|before| before.get(name));
            if known.map_or(0, Vec::len) < versions.len() {
                let retracted = words[0] == "remove";
                self.told.wrote(patient, name, versions.len(), retracted);
            }
        }
    }

    /// Compares what stands with what was acknowledged and with what may have happened besides;
    /// takes that over. Says how many uploads and segments were left behind, and how many changes the
    /// journal was asked about.
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
        let told = self.told.compare(&vault, storage.is_transactional());
        for patient in (0..2).flat_map(patients) {
            let before = self
                .charts
                .get(&patient)
                .cloned()
                .unwrap_or_else(begun_chart);
            let under_way = begun
                .values()
                .find(|verb| verb.split(' ').nth(1) == Some(&patient));
            let after = under_way.map_or_else(|| before.clone(), |verb| applied(&before, verb));
            let stands = standing(&vault, &patient);
            match &stands {
                None => assert!(before.is_none() || after.is_none(), "erased by nobody"),
                Some(records) => {
                    for name in NAMES.into_iter().chain(SINGLE) {
                        let of = |chart: &Chart| {
                            chart.as_ref().map(|records| records.get(name).cloned())
                        };
                        let now = Some(records.get(name).cloned());
                        assert!(
                            now == of(&before) || now == of(&after),
                            "{name} within {under_way:?}: {now:?} for {:?}",
                            of(&before)
                        );
                    }
                }
            }
            self.charts.insert(patient, stands);
        }
        let census = vault.key_usage().unwrap();
        assert_eq!(
            (census.unreadable_entries, census.unreadable_versions),
            (0, 0)
        );
        #[cfg(feature = "internals")]
        let [uploads, segments] = crate::sweep::frees_the_rest(&storage);
        #[cfg(not(feature = "internals"))]
        let [uploads, segments] = [0; 2];
        [uploads, segments, told]
    }
}

fn begun_chart() -> Chart {
    Some(BTreeMap::new())
}

/// The chart after a verb.
fn applied(before: &Chart, verb: &str) -> Chart {
    let words: Vec<_> = verb.split(' ').collect();
    let mut records = before.clone().unwrap_or_default();
    let mut put = |name: &str, version| records.entry(name.to_owned()).or_default().push(version);
    match words[0] {
        "erase" => return None,
        "readmit" => return begun_chart(),
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

/// A patient's chart, by every verb that reads.
fn standing(vault: &Vault, patient: &str) -> Chart {
    let chart = session(vault);
    let subject = subject(patient);
    let mut records = BTreeMap::new();
    for name in NAMES {
        let id = RecordId::new(subject.clone(), name).unwrap();
        let current = match chart.get(&id) {
            Err(Error::Erased) => return None,
            current => current.unwrap(),
        };
        let history = chart.history(&id).unwrap();
        let versions: Versions = (1..=history.len() as u64)
            .map(|version| {
                chart
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
    if let Some(record) = chart.get(&misfiled).unwrap() {
        records.insert(MISFILED.to_owned(), vec![Some(digest(&record))]);
    }
    let mut listed: Vec<_> = chart
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
    govern(&chart, &subject, &mut records);
    Some(records)
}

/// What keeps a patient from being erased.
fn govern(chart: &Session, subject: &Subject, records: &mut BTreeMap<String, Versions>) {
    match chart.holds(subject) {
        Err(Error::UnknownSubject) => return,
        Ok(holds) if holds.is_empty() => {}
        holds => drop(records.insert("held".to_owned(), vec![Some(holds.unwrap().len() as u64)])),
    }
    if let Some(until) = chart.retained_until(subject).unwrap() {
        let seconds = until.duration_since(UNIX_EPOCH).unwrap().as_secs();
        records.insert("retained".to_owned(), vec![Some(seconds)]);
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
