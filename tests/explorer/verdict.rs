//! Looks at what an execution left, with a vault opened afresh.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chartlock::storage::{MemoryStorage, Projection, Scan, Storage};
use chartlock::{Checkpoint, Error, Journaling, Vault};

use crate::clock::{DAYS, LoneClock};
use crate::common::objects::keys_of;
use crate::common::session;
use crate::model::{Attempt, Call, Fate, Model, is_alarm};
use crate::state::Stalls;
use crate::tap::{Landed, shared};
use crate::verbs::{Answer, Record, Verb, id, name, open, subject};

/// What is looked at, and how strictly.
pub(crate) struct Remains<'a> {
    pub(crate) memory: &'a Arc<MemoryStorage>,
    pub(crate) transactional: bool,
    pub(crate) stalls: Stalls,
    pub(crate) faulty: bool,
    pub(crate) uptime: Duration,
    pub(crate) journal: Option<Journaling>,
    /// Made once the setup was done.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// What processes put.
    pub(crate) landed: Vec<Landed>,
    /// Which processes died.
    pub(crate) dead: Vec<bool>,
    /// Whether somebody raised the alarm that his chain was continued by another.
    pub(crate) forked: bool,
    /// Commitments to the data keys of before, as the bytes 16 to 48 of a version hold them.
    pub(crate) former: &'a BTreeSet<Vec<u8>>,
    pub(crate) model: Model<'a>,
}

const REPAIR: &[u8] = b"repair";

impl Remains<'_> {
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        self.model.answers(&mut violations);
        if self.journal.is_some() {
            self.told(&mut violations);
            self.verified(&mut violations);
        }
        match self.open(self.uptime) {
            Ok(vault) => self.look(&vault, &mut violations),
            Err(error) => violations.push(format!("the vault does not open: {error:?}")),
        }
        violations
    }

    pub(crate) fn open(&self, uptime: Duration) -> Result<Vault, Error> {
        let storage = crate::tap::Boxed(shared(self.memory, self.transactional));
        let journal = self.journal.map(|_| Journaling::Grouped);
        open(storage, Arc::new(LoneClock::after(uptime)), journal)
    }

    fn look(&self, vault: &Vault, violations: &mut Vec<String>) {
        let records = self.model.records();
        if self.stalls == Stalls::Endless {
            repair(vault, &records);
        }
        self.contents(vault, &records, violations);
        self.model.held(vault, violations);
        self.census(vault, violations);
        self.exposed(violations);
        self.garbage(violations);
        if self.sweep(violations) {
            self.contents(vault, &records, violations);
        }
        if !violations.is_empty() {
            return;
        }
        self.finish(vault, &records, violations);
        self.contents(vault, &records, violations);
        self.model.held(vault, violations);
        if self.journal.is_some() {
            self.verified(violations);
        }
        for violation in violations {
            violation.push_str(", once what broke off was finished");
        }
    }

    fn contents(&self, vault: &Vault, records: &[Record], violations: &mut Vec<String>) {
        for record in records {
            if let Err(violation) = self.record(vault, *record) {
                violations.push(format!("{record:?}: {violation}"));
            }
        }
    }

    fn record(&self, vault: &Vault, record: Record) -> Result<(), String> {
        let attempts = self.model.attempts(record);
        let session = session(vault);
        let versions = match session.history(&id(record)) {
            Ok(versions) => versions,
            Err(Error::Erased) => {
                let must = attempts.iter().find(|attempt| attempt.fate == Fate::Must);
                return match must {
                    None if self.model.may_be_erased(record.0) => Ok(()),
                    None => Err("erased by nobody".into()),
                    Some(must) => Err(format!("erased, but for {must:?}")),
                };
            }
            Err(error) => return Err(format!("history fails: {error:?}")),
        };
        if self.model.erased(record.0) == Some(true) {
            return Err("an erased patient is back".into());
        }
        let mut standing = Vec::new();
        for info in &versions {
            let found = session.get_version(&id(record), info.version());
            let found = found.map_err(|error| format!("a version fails: {error:?}"))?;
            standing.push(found.map(|found| found.to_vec()));
        }
        judge(&attempts, &standing)?;
        let current = session.get(&id(record));
        let current = current.map_err(|error| format!("get fails: {error:?}"))?;
        let last = standing.last().cloned().flatten();
        if current.map(|found| found.to_vec()) != last {
            return Err("get and history differ".into());
        }
        let names = session.list(&subject(record.0)).and_then(|infos| {
            let names = infos.map(|info| info.map(|info| info.name().to_owned()));
            names.collect::<Result<Vec<_>, _>>()
        });
        let names = names.map_err(|error| format!("list fails: {error:?}"))?;
        if names.contains(&name(record)) != last.is_some() {
            return Err("list and history differ".into());
        }
        Ok(())
    }

    fn census(&self, vault: &Vault, violations: &mut Vec<String>) {
        match vault.key_usage() {
            Ok(census) if self.stalls == Stalls::WithinGrace => {
                if census.unreadable_entries + census.unreadable_versions > 0 {
                    violations.push(format!(
                        "under keys that are gone: {} entries, {} versions",
                        census.unreadable_entries, census.unreadable_versions
                    ));
                }
            }
            Ok(_) => {}
            Err(error) => violations.push(format!("the census fails: {error:?}")),
        }
    }

    /// Once a chart was sealed again, no data key of before is in use, carried on by whomever.
    fn exposed(&self, violations: &mut Vec<String>) {
        let sealed_again = (self.model.calls.iter()).any(|call| {
            matches!(call.verb, Verb::Reencrypt(_))
                && matches!(call.answer, Some(Answer::Renewed(0, 0)))
        });
        if !sealed_again || self.stalls == Stalls::Endless {
            return;
        }
        let remaining = commitments(self.memory);
        let exposed = remaining.intersection(self.former).count();
        if exposed > 0 {
            violations.push(format!("{exposed} data keys of before are in use still"));
        }
    }

    /// Without faults no upload is left, and no object of an erased chart. (A chart that is sealed
    /// again twice at once may leave an intent beside the record that it names, for the sweeper.)
    fn garbage(&self, violations: &mut Vec<String>) {
        if self.faulty {
            return;
        }
        let intents = self.count(b"w");
        let sealed_again = |call: &Call| matches!(call.verb, Verb::Reencrypt(_));
        if intents > 0 && !self.model.calls.iter().any(sealed_again) {
            violations.push(format!("{intents} upload intents are left"));
        }
        let records = self.model.records();
        let gone = !records.is_empty()
            && (records.iter()).all(|record| self.model.erased(record.0) == Some(true));
        let left = self.count(b"r") + self.count(b"h") + self.count(b"s");
        if gone && left > 0 {
            violations.push(format!("{left} objects of erased charts are left"));
        }
    }

    /// Long after, a sweep leaves nothing that no record names, and everything that one does. False
    /// when there is nothing that it could look at.
    fn sweep(&self, violations: &mut Vec<String>) -> bool {
        if self.count(b"s") + self.count(b"w") == 0 {
            return false;
        }
        let vault = self.open(self.uptime + DAYS).unwrap();
        match vault.collect_garbage() {
            Ok(report) if !is_alarm(&report) => {}
            other => violations.push(format!("the last sweep ends with {other:?}")),
        }
        let (intents, unnamed) = (self.count(b"w"), unnamed(self.memory));
        if intents + unnamed > 0 {
            violations.push(format!(
                "the last sweep leaves {intents} intents and {unnamed} segments"
            ));
        }
        true
    }

    fn count(&self, prefix: &[u8]) -> usize {
        keys_of(&**self.memory, prefix).len()
    }

    /// Whatever broke off can be finished by calling it again.
    fn finish(&self, vault: &Vault, records: &[Record], violations: &mut Vec<String>) {
        let mut patients: Vec<_> = records.iter().map(|record| record.0).collect();
        patients.dedup();
        let strict = self.stalls == Stalls::WithinGrace;
        let mut live = 0;
        for patient in patients {
            let subject = subject(patient);
            match vault.rotate_subject_key(&subject) {
                Ok(report) if report.blocking > 0 || (strict && report.orphaned > 0) => {
                    violations.push(format!("a rotation ends with {report:?}"));
                }
                Ok(_) => live += 1,
                Err(Error::Erased) => {
                    if let Err(error) = session(vault).erase_subject(&subject, "asked for") {
                        violations.push(format!("an erasure cannot be finished: {error:?}"));
                    }
                }
                Err(Error::UnknownSubject) => {}
                Err(error) => violations.push(format!("a rotation cannot be finished: {error:?}")),
            }
        }
        match vault.rotate_master_key() {
            Ok(report) if report.entries_blocking == 0 => {}
            other => violations.push(format!("the master rotation ends with {other:?}")),
        }
        if let Ok(census) = vault.key_usage()
            && (census.masters.len() != 1 || (strict && census.patient_keys != 2 * live))
        {
            violations.push(format!("keys are left: {census:?}"));
        }
        let left = self.count(b"r") + self.count(b"h") + self.count(b"s") + self.count(b"w");
        if live == 0 && left > 0 {
            violations.push(format!("{left} objects of erased charts are left for good"));
        }
    }
}

/// How many segments no record version names.
fn unnamed(memory: &MemoryStorage) -> usize {
    let scan = |projection| Scan {
        prefix: b"",
        after: None,
        limit: 1000,
        projection,
    };
    let entries = memory.scan(scan(Projection::Head(112))).unwrap().items;
    let named: BTreeSet<_> = (entries.iter())
        .filter(|entry| b"rh".contains(&entry.key[0]) && entry.value[2] == 2)
        .map(|entry| [&entry.key[1..17], &entry.value[96..112]].concat())
        .collect();
    (entries.iter())
        .filter(|entry| entry.key[0] == b's' && !named.contains(&entry.key[1..33]))
        .count()
}

/// Commitments to the data keys of all versions that stand.
pub(crate) fn commitments(memory: &MemoryStorage) -> BTreeSet<Vec<u8>> {
    let scan = Scan {
        prefix: b"",
        after: None,
        limit: 1000,
        projection: Projection::Head(48),
    };
    let entries = memory.scan(scan).unwrap().items.into_iter();
    entries
        .filter(|entry| b"rh".contains(&entry.key[0]))
        .map(|entry| entry.value[16..].to_vec())
        .collect()
}

/// After a stall without end a version may stand under a key that is gone; whoever puts next
/// replaces it.
fn repair(vault: &Vault, records: &[Record]) {
    for record in records {
        let orphaned = matches!(
            session(vault).get(&id(*record)),
            Err(Error::UnknownPatientKey | Error::UnknownMasterKey)
        );
        if orphaned {
            let _told_by_what_follows = session(vault).put(&id(*record), REPAIR);
        }
    }
}

fn judge(attempts: &[Attempt], standing: &[Option<Vec<u8>>]) -> Result<(), String> {
    for must in attempts.iter().filter(|attempt| attempt.fate == Fate::Must) {
        let version = must.version.unwrap_or(0) as usize;
        match standing.get(version.wrapping_sub(1)) {
            Some(found) if *found == must.content => {}
            Some(_) => return Err(format!("version {version} is another one")),
            None => return Err(format!("version {version} was acknowledged and is missing")),
        }
    }
    for (index, found) in standing.iter().enumerate() {
        if found.as_deref() == Some(REPAIR) {
            continue;
        }
        let by: Vec<_> = (attempts.iter())
            .filter(|attempt| attempt.content == *found)
            .collect();
        if by.iter().all(|attempt| attempt.fate == Fate::Gone) {
            return Err(format!("version {} should not be there", index + 1));
        }
        if found.is_some() && standing[..index].contains(found) {
            return Err(format!("version {} stands twice", index + 1));
        }
    }
    Ok(())
}
