//! Checks of the storage after an execution, through a newly opened vault.

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
use crate::tap::shared;
use crate::verbs::{Answer, Record, Verb, id, name, open, subject};

/// Storage after an execution, with the data that the checks need.
pub(crate) struct FinalState<'a> {
    pub(crate) memory: &'a Arc<MemoryStorage>,
    pub(crate) transactional: bool,
    pub(crate) stalls: Stalls,
    pub(crate) faulty: bool,
    pub(crate) uptime: Duration,
    pub(crate) journal: Option<Journaling>,
    /// The checkpoint taken after the setup.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// For each process, `true` if the process crashed.
    pub(crate) dead: Vec<bool>,
    /// `true` if a process raised the event `JournalForked`.
    pub(crate) forked: bool,
    /// The spools of the processes.
    pub(crate) spools: Vec<Arc<MemoryStorage>>,
    /// `true` if the setup put back a backup.
    pub(crate) is_restored: bool,
    /// Commitments to the data keys of the setup: bytes `16..48` of each stored version.
    pub(crate) setup_keys: &'a BTreeSet<Vec<u8>>,
    pub(crate) model: Model<'a>,
}

const REPAIR: &[u8] = b"repair";

impl FinalState<'_> {
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        self.model.check_answers(&mut violations);
        if self.journal.is_some() {
            match self.open(self.uptime) {
                Ok(vault) => self.bring_home(&vault, &mut violations),
                Err(error) => violations.push(format!("the vault does not open: {error:?}")),
            }
            self.check_journal(&mut violations);
            if self.is_accepted() && !self.is_deleted_late() {
                self.check_verification(&mut violations);
            }
        }
        match self.open(self.uptime) {
            Ok(vault) => self.check(&vault, &mut violations),
            Err(error) => violations.push(format!("the vault does not open: {error:?}")),
        }
        violations
    }

    pub(crate) fn open(&self, uptime: Duration) -> Result<Vault, Error> {
        let storage = crate::tap::Boxed(shared(self.memory, self.transactional));
        let journal = self.journal.map(|_| Journaling::Grouped);
        open(storage, Arc::new(LoneClock::after(uptime)), journal)
    }

    fn check(&self, vault: &Vault, violations: &mut Vec<String>) {
        let records = self.model.records();
        if self.stalls == Stalls::Endless {
            repair(vault, &records);
        }
        self.check_contents(vault, &records, violations);
        self.model.check_holds(vault, violations);
        self.check_key_usage(vault, violations);
        self.check_data_keys(violations);
        self.check_garbage(violations);
        if self.collect_garbage(violations) {
            self.check_contents(vault, &records, violations);
        }
        if !violations.is_empty() {
            return;
        }
        self.repeat_interrupted(vault, &records, violations);
        self.check_contents(vault, &records, violations);
        self.model.check_holds(vault, violations);
        if self.journal.is_some() {
            self.accept_again(vault, violations);
            self.check_verification(violations);
        }
        for violation in violations {
            violation.push_str(", after interrupted operations were repeated");
        }
    }

    fn check_contents(&self, vault: &Vault, records: &[Record], violations: &mut Vec<String>) {
        if self.record_deleted().is_some() {
            // An attacker deleted the only record.
            return;
        }
        for record in records {
            if let Err(violation) = self.check_record(vault, *record) {
                violations.push(format!("{record:?}: {violation}"));
            }
        }
    }

    fn check_record(&self, vault: &Vault, record: Record) -> Result<(), String> {
        let attempts = self.model.attempts(record);
        let session = session(vault);
        let versions = match session.history(&id(record)) {
            Ok(versions) => versions,
            Err(Error::Erased) => {
                let must = attempts.iter().find(|attempt| attempt.fate == Fate::Must);
                return match must {
                    None if self.model.may_be_erased(record.0) => Ok(()),
                    None => Err("erased without an erasure".into()),
                    Some(must) => Err(format!("erased, but {must:?} must be stored")),
                };
            }
            Err(error) => return Err(format!("history fails: {error:?}")),
        };
        if self.model.erased(record.0) == Some(true) {
            return Err("an erased patient has a chart".into());
        }
        let mut stored = Vec::new();
        for info in &versions {
            let found = session.get_version(&id(record), info.version());
            let found = found.map_err(|error| format!("a version fails: {error:?}"))?;
            stored.push(found.map(|found| found.to_vec()));
        }
        compare(&attempts, &stored)?;
        let current = session.get(&id(record));
        let current = current.map_err(|error| format!("get fails: {error:?}"))?;
        let last = stored.last().cloned().flatten();
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

    fn check_key_usage(&self, vault: &Vault, violations: &mut Vec<String>) {
        match vault.key_usage() {
            Ok(usage) if self.stalls == Stalls::Bounded => {
                if usage.unreadable_entries + usage.unreadable_versions > 0 {
                    violations.push(format!(
                        "sealed under destroyed keys: {} entries, {} versions",
                        usage.unreadable_entries, usage.unreadable_versions
                    ));
                }
            }
            Ok(_) => {}
            Err(error) => violations.push(format!("key usage fails: {error:?}")),
        }
    }

    /// Checks that no data key of the setup is in use after a complete re-encryption.
    fn check_data_keys(&self, violations: &mut Vec<String>) {
        let reencrypted = (self.model.calls.iter()).any(|call| {
            matches!(call.verb, Verb::Reencrypt(_))
                && matches!(call.answer, Some(Answer::Rotated(0, 0)))
        });
        if !reencrypted || self.stalls == Stalls::Endless {
            return;
        }
        let remaining = commitments(self.memory);
        let exposed = remaining.intersection(self.setup_keys).count();
        if exposed > 0 {
            violations.push(format!(
                "{exposed} data keys of the setup are still in use after re-encryption"
            ));
        }
    }

    /// Checks that an execution without faults leaves no upload intent and no object of an erased chart.
    ///
    /// Two concurrent re-encryptions may leave an intent for a live stream. The collector deletes
    /// such an intent later.
    fn check_garbage(&self, violations: &mut Vec<String>) {
        if self.faulty {
            return;
        }
        let intents = self.count(b"w");
        let reencrypted = |call: &Call| matches!(call.verb, Verb::Reencrypt(_));
        if intents > 0 && !self.model.calls.iter().any(reencrypted) {
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

    /// Collects garbage after several days, and checks that no upload intent and no unreferenced
    /// segment remains.
    ///
    /// Returns false if there were no segments or intents.
    fn collect_garbage(&self, violations: &mut Vec<String>) -> bool {
        if self.count(b"s") + self.count(b"w") == 0 {
            return false;
        }
        let vault = self.open(self.uptime + DAYS).unwrap();
        match vault.collect_garbage() {
            Ok(report) if !is_alarm(&report) => {}
            other => violations.push(format!("the last garbage collection ends with {other:?}")),
        }
        let (intents, unnamed) = (self.count(b"w"), unnamed(self.memory));
        if intents + unnamed > 0 {
            violations.push(format!(
                "the last garbage collection leaves {intents} intents and {unnamed} unnamed segments"
            ));
        }
        true
    }

    fn count(&self, prefix: &[u8]) -> usize {
        keys_of(&**self.memory, prefix).len()
    }

    /// Repeats interrupted operations, and checks that they finish.
    fn repeat_interrupted(&self, vault: &Vault, records: &[Record], violations: &mut Vec<String>) {
        let mut patients: Vec<_> = records.iter().map(|record| record.0).collect();
        patients.dedup();
        let strict = self.stalls == Stalls::Bounded;
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
        if self.journal.is_some() {
            self.repeat_journal_rotation(vault, violations);
        }
        match vault.rotate_master_key() {
            Ok(report) if report.entries_blocking == 0 => {}
            other => violations.push(format!("the master rotation ends with {other:?}")),
        }
        if let Ok(usage) = vault.key_usage()
            && (usage.masters.len() != 1 || (strict && usage.patient_keys != 2 * live))
        {
            violations.push(format!("keys are left: {usage:?}"));
        }
        let left = self.count(b"r") + self.count(b"h") + self.count(b"s") + self.count(b"w");
        if live == 0 && left > 0 {
            violations.push(format!(
                "{left} objects of erased charts are left after the last erasure"
            ));
        }
    }
}

impl FinalState<'_> {
    /// Checks that another rotation of the journal keys ends, and finishes an interrupted one.
    fn repeat_journal_rotation(&self, vault: &Vault, violations: &mut Vec<String>) {
        let rotates = |call: &Call| call.verb == Verb::RotateJournal;
        if !self.model.calls.iter().any(rotates) {
            return;
        }
        match vault.rotate_journal_keys(&[], &[]) {
            Ok(report) if report.pages.is_some() => {}
            other => violations.push(format!("the journal rotation ends with {other:?}")),
        }
    }
}

/// Counts the segments that no version references.
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

/// Returns the commitments to the data keys of all stored versions.
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

/// Replaces versions whose key was destroyed.
///
/// A writer that stalls beyond the key removal delay can leave such a version. The next put
/// replaces the version.
fn repair(vault: &Vault, records: &[Record]) {
    for record in records {
        let orphaned = matches!(
            session(vault).get(&id(*record)),
            Err(Error::UnknownPatientKey | Error::UnknownMasterKey)
        );
        if orphaned {
            // Ignore a failure here, because the checks that follow report the failure.
            let _ = session(vault).put(&id(*record), REPAIR);
        }
    }
}

fn compare(attempts: &[Attempt], stored: &[Option<Vec<u8>>]) -> Result<(), String> {
    for must in attempts.iter().filter(|attempt| attempt.fate == Fate::Must) {
        let version = must.version.unwrap_or(0) as usize;
        match stored.get(version.wrapping_sub(1)) {
            Some(found) if *found == must.content => {}
            Some(_) => return Err(format!("version {version} has other content")),
            None => return Err(format!("version {version} was acknowledged and is missing")),
        }
    }
    for (index, found) in stored.iter().enumerate() {
        if found.as_deref() == Some(REPAIR) {
            continue;
        }
        let by: Vec<_> = (attempts.iter())
            .filter(|attempt| attempt.content == *found)
            .collect();
        if by.iter().all(|attempt| attempt.fate == Fate::Gone) {
            return Err(format!("version {} must not be stored", index + 1));
        }
        if found.is_some() && stored[..index].contains(found) {
            return Err(format!("version {} repeats an earlier one", index + 1));
        }
    }
    Ok(())
}
