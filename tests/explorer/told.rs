//! What the journal tells after an execution, compared with what was answered and with what stood.

use std::collections::HashMap;

use chartlock::internals::crypto::{self, Digest};
use chartlock::internals::journal::{
    self, Cursor, Entry, PageId, PageKeys, Stage, Target, page_of,
};
use chartlock::internals::keys::Keyring;
use chartlock::{Journaling, Operation, SubjectKind};

use crate::common::journal::unlocked;
use crate::model::Call;
use crate::tap::Landed;
use crate::verbs::{Answer, Record, Verb, name};
use crate::verdict::Remains;

/// The pages that stand.
struct Journal {
    keyring: Keyring,
    told: Vec<Told>,
}

/// An entry, and how its page came there.
struct Told {
    /// `None` for the setup.
    process: Option<usize>,
    step: u64,
    stage: Stage,
    /// A later entry tells that it was done.
    settled: bool,
    entry: Entry,
}

impl Told {
    fn is_certain(&self) -> bool {
        self.stage == Stage::Done || self.settled
    }

    /// What it tells was written.
    fn written(&self) -> Option<Digest> {
        match self.entry.target {
            Target::Header { digest, .. }
            | Target::Entry { digest, .. }
            | Target::Version { digest, .. } => Some(digest),
            _ => None,
        }
    }
}

impl Remains<'_> {
    /// A verification by somebody who comes afresh raises no alarm.
    pub(crate) fn verified(&self, violations: &mut Vec<String>) {
        let verified = self
            .open(self.uptime)
            .and_then(|vault| vault.verify(self.checkpoint.as_ref()));
        match verified {
            Ok(report) if report.is_clean() => {}
            Ok(report) => violations.push(format!("a verification finds {report:?}")),
            Err(error) => violations.push(format!("a verification fails: {error:?}")),
        }
    }

    /// Compares what is told with what stood, and with what was answered.
    pub(crate) fn told(&self, violations: &mut Vec<String>) {
        let journal = self.journal(violations);
        if self.forked {
            violations.push("a fork is heard of that nobody made".into());
        }
        for landed in self.landed.iter().filter(|landed| landed.key[0] != b'j') {
            self.nothing_unseen(&journal, landed, violations);
        }
        self.nothing_made_up(&journal, violations);
        for call in self.model.calls {
            // What the setup did stands, and is compared by the verification.
            if let (Some(answer), true) = (&call.answer, call.process < self.dead.len()) {
                self.answered(&journal, call, answer, violations);
            }
        }
    }

    /// Reads all chains; each must open, be linked and have no gap.
    fn journal(&self, violations: &mut Vec<String>) -> Journal {
        let (header, unlocked) = unlocked(&**self.memory);
        let keyring = unlocked.keyring;
        let key = |number| keyring.journal_key(number).map(|numbered| &numbered.key);
        let keys = PageKeys {
            vault: *header.vault(),
            key: &key,
        };
        let landed = self.landed.iter();
        let landed: HashMap<_, _> = landed
            .filter_map(|landed| Some((page_of(&landed.key)?, (landed.process, landed.step))))
            .collect();
        let mut told = Vec::new();
        let mut places = HashMap::<(PageId, u32), usize>::new();
        for writer in journal::writers(&**self.memory, None).unwrap() {
            let mut cursor = Cursor::new(writer);
            let read = cursor.advance(&**self.memory, &keys, &mut |id, page, fault| {
                if let Some(fault) = fault {
                    violations.push(format!("page {} of a chain is {fault:?}", id.sequence));
                }
                let by = landed.get(&id);
                for (index, entry) in page.into_iter().flat_map(|page| page.entries).enumerate() {
                    places.insert((id, index as u32), told.len());
                    told.push(Told {
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
        let settled: Vec<_> = (told.iter())
            .filter_map(|told| match told.entry.target {
                Target::Settled(page, index) => Some((page, index)),
                _ => None,
            })
            .collect();
        for place in settled {
            match places.get(&place) {
                Some(place) => told[*place].settled = true,
                None => violations.push("something is settled that was never told".into()),
            }
        }
        Journal { keyring, told }
    }

    /// Nothing stood that the journal had not told of before, or with it.
    fn nothing_unseen(&self, journal: &Journal, landed: &Landed, violations: &mut Vec<String>) {
        let told = journal.told.iter().any(|told| {
            told.written() == Some(landed.digest)
                && told.step <= landed.step
                && (told.stage == Stage::Done || !self.transactional)
        });
        if !told {
            violations.push(format!(
                "process {} wrote {:?} unseen",
                landed.process, landed.key[0] as char
            ));
        }
    }

    /// Nothing is told for certain that never stood.
    fn nothing_made_up(&self, journal: &Journal, violations: &mut Vec<String>) {
        for told in &journal.told {
            let (Some(process), Some(digest), true) =
                (told.process, told.written(), told.is_certain())
            else {
                continue;
            };
            if !self.landed.iter().any(|landed| landed.digest == digest) {
                let operation = told.entry.operation;
                violations.push(format!("process {process} tells of {operation:?} in vain"));
            }
        }
    }

    fn answered(
        &self,
        journal: &Journal,
        call: &Call,
        answer: &Answer,
        violations: &mut Vec<String>,
    ) {
        let seen = match answer {
            Answer::Written(written) => written.iter().all(|(record, outcome)| match outcome {
                Ok(Some(version)) => self.put_is_told(journal, call, *record, *version),
                _ => true,
            }),
            Answer::Read(record, found) => {
                let version = found.as_ref().map_or(0, |(version, _)| *version);
                self.look_is_told(journal, call, Operation::Read, |told| {
                    journal.is_record(told, *record) && told.version() == Some(version)
                })
            }
            Answer::History(record, _) => {
                self.look_is_told(journal, call, Operation::History, |told| {
                    journal.is_record(told, *record)
                })
            }
            Answer::Listed(patient, _) => {
                self.look_is_told(journal, call, Operation::List, |told| {
                    journal.is_of(told, *patient)
                })
            }
            _ => true,
        };
        if !seen {
            violations.push(format!(
                "process {}: nothing tells that {:?} answered {answer:?}",
                call.process, call.verb
            ));
        }
    }

    /// What was acknowledged was told when it was, and is certain, unless that could not be told any
    /// more.
    fn put_is_told(&self, journal: &Journal, call: &Call, record: Record, version: u64) -> bool {
        let operation = match call.verb {
            Verb::Remove(_) => Operation::Retract,
            _ => Operation::Put,
        };
        let cut_short = self.dead[call.process] || self.model.outage;
        let may_be_announced = !self.transactional && cut_short;
        journal.told.iter().any(|told| {
            told.process == Some(call.process)
                && told.entry.operation == operation
                && journal.is_record(told, record)
                && told.version() == Some(version)
                && (call.begun < told.step && told.step <= call.ended)
                && (told.is_certain() || may_be_announced)
                && (self.landed.iter()).any(|landed| told.written() == Some(landed.digest))
        })
    }

    /// What was handed out was told before; when grouped, soon after.
    fn look_is_told(
        &self,
        journal: &Journal,
        call: &Call,
        operation: Operation,
        is_it: impl Fn(&Told) -> bool,
    ) -> bool {
        let grouped = self.journal == Some(Journaling::Grouped);
        let told = journal.told.iter().any(|told| {
            told.process == Some(call.process)
                && told.entry.operation == operation
                && is_it(told)
                && call.begun < told.step
                && (told.step <= call.ended || grouped)
        });
        told || grouped && (self.dead[call.process] || self.model.outage)
    }
}

impl Told {
    fn version(&self) -> Option<u64> {
        match self.entry.target {
            Target::Record { version, .. } | Target::Version { version, .. } => Some(version),
            _ => None,
        }
    }
}

impl Journal {
    fn is_of(&self, told: &Told, patient: u8) -> bool {
        let key = &self.keyring.active_journal_key().key;
        let patient = format!("P{patient}");
        let tag = crypto::subject_tag(key, SubjectKind::Patient, &patient).unwrap();
        (told.entry.target.subject()).is_some_and(|subject| subject.tag == tag)
    }

    fn is_record(&self, told: &Told, record: Record) -> bool {
        let key = &self.keyring.active_journal_key().key;
        let tag = crypto::name_tag(key, &name(record)).unwrap();
        let named = told.entry.target.record();
        named.is_some_and(|named| named.name == tag) && self.is_of(told, record.0)
    }
}
