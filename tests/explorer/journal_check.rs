//! Comparison of the journal after an execution with the results of operations and with the applied puts.

use std::collections::HashMap;

use chartlock::internals::crypto::{self, Digest};
use chartlock::internals::journal::{
    self, Cursor, Entry, PageId, PageKeys, Stage, Target, page_of,
};
use chartlock::internals::keys::Keyring;
use chartlock::{Journaling, Operation, SubjectKind};

use crate::attacker;
use crate::common::journal::unlocked;
use crate::final_state::FinalState;
use crate::model::Call;
use crate::tap::AppliedPut;
use crate::verbs::{Answer, Record, Verb, name};

/// Entries of all stored journal pages, with the keyring that opened the pages.
struct Journal {
    keyring: Keyring,
    entries: Vec<JournaledEntry>,
}

/// A journal entry, with the process and step that wrote its page.
struct JournaledEntry {
    /// `None` for a page of the setup.
    process: Option<usize>,
    step: u64,
    stage: Stage,
    /// `true` if a later entry settles this entry.
    settled: bool,
    entry: Entry,
}

impl JournaledEntry {
    fn is_settled(&self) -> bool {
        self.stage == Stage::Done || self.settled
    }

    /// Returns the digest that the entry records for the written object.
    fn written(&self) -> Option<Digest> {
        match &self.entry.target {
            Target::Header { digest, .. }
            | Target::Version { digest, .. }
            | Target::Reencrypted { after: digest, .. } => Some(*digest),
            target => target.sealed_entry().map(|written| written.digest),
        }
    }
}

impl FinalState<'_> {
    /// Checks that a verification of the reopened vault reports no finding.
    pub(crate) fn check_verification(&self, violations: &mut Vec<String>) {
        let verified = self
            .open(self.uptime)
            .and_then(|vault| vault.verify(self.checkpoint.as_ref()));
        match verified {
            Ok(mut report) => {
                violations.extend(self.take_planted(&mut report));
                if report.is_clean() {
                    return;
                }
                violations.push(format!("verification after the execution finds {report:?}"))
            }
            Err(error) => {
                violations.push(format!("verification after the execution fails: {error:?}"))
            }
        }
    }

    /// Compares the journal entries with the applied puts and with the results.
    pub(crate) fn check_journal(&self, violations: &mut Vec<String>) {
        let journal = self.journal(violations);
        if self.forked {
            violations.push("a process reports a journal fork, but there is none".into());
        }
        for applied in self
            .model
            .applied
            .iter()
            .filter(|applied| applied.key[0] != b'j')
        {
            self.check_put_journaled(&journal, applied, violations);
        }
        self.check_entries_applied(&journal, violations);
        for call in self.model.calls {
            // Skip the calls of the setup, because the verification compares their entries.
            if let (Some(answer), true) = (&call.answer, call.process < self.dead.len()) {
                self.check_answer(&journal, call, answer, violations);
            }
        }
    }

    /// Reads all chains, and checks that each page opens and links to the page before it, without a
    /// gap.
    fn journal(&self, violations: &mut Vec<String>) -> Journal {
        let (header, unlocked) = unlocked(&**self.memory);
        let keyring = unlocked.keyring;
        let key = |number| keyring.journal_key(number).map(|numbered| &numbered.key);
        let authority = |number| keyring.authority_key(number).map(|numbered| &numbered.key);
        let keys = PageKeys {
            vault: *header.vault(),
            key: &key,
            authority: Some(&authority),
            closed_pages: None,
        };
        let applied = self.model.applied.iter();
        // A page of a spool is put twice. Its entries are durable from the first put on.
        let applied: HashMap<_, _> = (applied.rev())
            .filter_map(|applied| Some((page_of(&applied.key)?, (applied.process, applied.step))))
            .collect();
        let mut entries = Vec::new();
        let mut places = HashMap::<(PageId, u32), usize>::new();
        for writer in journal::writers(&**self.memory, ..).unwrap() {
            if [attacker::INSIDER, attacker::AUDITOR].contains(&writer) {
                continue;
            }
            let mut cursor = Cursor::new(writer);
            let read = cursor.advance(&**self.memory, &keys, &mut |id, page, fault| {
                if let Some(fault) = fault {
                    violations.push(format!("journal page {} is {fault:?}", id.sequence));
                }
                let by = applied.get(&id);
                for (index, entry) in page.into_iter().flat_map(|page| page.entries).enumerate() {
                    places.insert((id, index as u32), entries.len());
                    entries.push(JournaledEntry {
                        process: by.map(|(process, _)| *process),
                        step: by.map_or(0, |(_, step)| *step),
                        stage: entry.stage,
                        settled: false,
                        entry,
                    });
                }
                Ok(())
            });
            read.unwrap();
        }
        let settled: Vec<_> = (entries.iter())
            .filter_map(|journaled| match journaled.entry.target {
                Target::Settled(page, index) => Some((page, index)),
                _ => None,
            })
            .collect();
        for place in settled {
            match places.get(&place) {
                Some(place) => entries[*place].settled = true,
                None => violations.push("an entry settles an entry that does not exist".into()),
            }
        }
        Journal { keyring, entries }
    }

    /// Checks that the journal recorded an applied put no later than the step that applied the put.
    fn check_put_journaled(
        &self,
        journal: &Journal,
        applied: &AppliedPut,
        violations: &mut Vec<String>,
    ) {
        let is_journaled = journal.entries.iter().any(|journaled| {
            journaled.written() == Some(applied.digest)
                && journaled.step <= applied.step
                && (journaled.stage == Stage::Done || !self.transactional)
        });
        if !is_journaled {
            violations.push(format!(
                "process {} put a key of class {:?} without a journal entry",
                applied.process, applied.key[0] as char
            ));
        }
    }

    /// Checks that each settled entry records a put that the storage applied.
    fn check_entries_applied(&self, journal: &Journal, violations: &mut Vec<String>) {
        for journaled in &journal.entries {
            let (Some(process), Some(digest), true) = (
                journaled.process,
                journaled.written(),
                journaled.is_settled(),
            ) else {
                continue;
            };
            let operation = journaled.entry.operation;
            // An acceptance names stored objects, which other processes may have written.
            if operation == Operation::AcceptRestore {
                continue;
            }
            if !self
                .model
                .applied
                .iter()
                .any(|applied| applied.digest == digest)
            {
                violations.push(format!(
                    "process {process} journaled {operation:?}, which never happened"
                ));
            }
        }
    }

    fn check_answer(
        &self,
        journal: &Journal,
        call: &Call,
        answer: &Answer,
        violations: &mut Vec<String>,
    ) {
        let is_journaled = match answer {
            Answer::Written(written) => written.iter().all(|(record, outcome)| match outcome {
                Ok(Some(version)) => self.is_put_journaled(journal, call, *record, *version),
                _ => true,
            }),
            Answer::Read(record, found) => {
                let version = found.as_ref().map_or(0, |(version, _)| *version);
                self.is_read_journaled(journal, call, Operation::Read, |journaled| {
                    journal.names_record(journaled, *record) && journaled.version() == Some(version)
                })
            }
            Answer::History(record, _) => {
                self.is_read_journaled(journal, call, Operation::History, |journaled| {
                    journal.names_record(journaled, *record)
                })
            }
            Answer::Listed(patient, _) => {
                self.is_read_journaled(journal, call, Operation::List, |journaled| {
                    journal.names_patient(journaled, *patient)
                })
            }
            _ => true,
        };
        if !is_journaled {
            violations.push(format!(
                "process {}: no journal entry for {:?}, which answered {answer:?}",
                call.process, call.verb
            ));
        }
    }

    /// Returns `true` if an acknowledged put has a settled entry that was written before the
    /// acknowledgement.
    ///
    /// The entry may be unsettled if a crash or an outage prevented the page that settles the
    /// entry.
    fn is_put_journaled(
        &self,
        journal: &Journal,
        call: &Call,
        record: Record,
        version: u64,
    ) -> bool {
        let operation = match call.verb {
            Verb::Retract(_) => Operation::Retract,
            _ => Operation::Put,
        };
        let cut_short = self.dead[call.process] || self.model.outage;
        let may_be_announced = !self.transactional && cut_short;
        journal.entries.iter().any(|journaled| {
            journaled.process == Some(call.process)
                && journaled.entry.operation == operation
                && journal.names_record(journaled, record)
                && journaled.version() == Some(version)
                && (call.begun < journaled.step && journaled.step <= call.ended)
                && (journaled.is_settled() || may_be_announced)
                && (self.model.applied.iter())
                    .any(|applied| journaled.written() == Some(applied.digest))
        })
    }

    /// Returns `true` if a released read has an entry that was written before the release.
    ///
    /// With grouped journaling, the entry may be written later, or be lost in a crash or an outage.
    fn is_read_journaled(
        &self,
        journal: &Journal,
        call: &Call,
        operation: Operation,
        matches: impl Fn(&JournaledEntry) -> bool,
    ) -> bool {
        let grouped = self.journal == Some(Journaling::Grouped);
        let is_journaled = journal.entries.iter().any(|journaled| {
            journaled.process == Some(call.process)
                && journaled.entry.operation == operation
                && matches(journaled)
                && call.begun < journaled.step
                && (journaled.step <= call.ended || grouped)
        });
        is_journaled || grouped && (self.dead[call.process] || self.model.outage)
    }
}

impl JournaledEntry {
    fn version(&self) -> Option<u64> {
        match self.entry.target {
            Target::Record { version, .. }
            | Target::Version { version, .. }
            | Target::Reencrypted { version, .. } => Some(version),
            _ => None,
        }
    }
}

impl Journal {
    fn names_patient(&self, journaled: &JournaledEntry, patient: u8) -> bool {
        let key = self.keyring.first_journal_key();
        let patient = format!("P{patient}");
        let tag = crypto::subject_tag(key, SubjectKind::Patient, &patient).unwrap();
        (journaled.entry.target.subject()).is_some_and(|subject| subject.tag == tag)
    }

    fn names_record(&self, journaled: &JournaledEntry, record: Record) -> bool {
        let key = self.keyring.first_journal_key();
        let tag = crypto::name_tag(key, &name(record)).unwrap();
        let named = journaled.entry.target.record();
        named.is_some_and(|named| named.name == tag) && self.names_patient(journaled, record.0)
    }
}
