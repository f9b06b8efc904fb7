//! Loads the patient entries of subjects that are about to be written to, and creates missing ones.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::crypto;
use crate::error::{Error, Result};
use crate::id::Subject;
use crate::journal::{Act, Operation};
use crate::keys::entry::PatientEntry;
use crate::keys::sealed_entry::EntryHead;
use crate::storage::{CommitError, Expect, Revision};
use crate::vault::entries::change::{EntryPut, Written, sealed_under_younger, written};
use crate::vault::entries::{CachedEntry, Freshness};
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, Vault};

/// An entry that can be written to, or why not.
type ReadyEntry<'a> = (&'a Subject, Result<Arc<CachedEntry>>);

enum NewEntry {
    Usable(Arc<CachedEntry>),
    ToWrite(Box<CachedEntry>, Expect),
    /// The header or the entry is not what it was.
    LookAgain,
}

impl Vault {
    /// The entries of subjects that are to be written to: created where there are none, sealed
    /// again where their master key is not the active one. New ones become durable together.
    pub(crate) fn entries_for_writing(
        &self,
        subjects: &HashMap<&Subject, Freshness>,
        act: &Act,
    ) -> Result<HashMap<Subject, Result<Arc<CachedEntry>>>> {
        self.require_writable()?;
        let mut ready = HashMap::with_capacity(subjects.len());
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let header = if round == 0 {
                self.header()?
            } else {
                self.reload_header()?
            };
            let mut drafts = Vec::new();
            let mut again = false;
            for (subject, freshness) in subjects {
                if ready.contains_key(*subject) {
                    continue;
                }
                let freshness = if round == 0 {
                    *freshness
                } else {
                    Freshness::Fresh
                };
                match self.draft_for_writing(&header, subject, freshness) {
                    Ok(NewEntry::Usable(held)) => drop(ready.insert((*subject).clone(), Ok(held))),
                    Ok(NewEntry::ToWrite(held, expect)) => drafts.push((*subject, held, expect)),
                    Ok(NewEntry::LookAgain) => again = true,
                    Err(error) => drop(ready.insert((*subject).clone(), Err(error))),
                }
            }
            if drafts.is_empty() && !again {
                return Ok(ready);
            }
            for (subject, written) in self.write_drafts(&header, drafts, act)? {
                ready.insert(subject.clone(), written);
            }
        }
        for subject in subjects.keys() {
            ready
                .entry((*subject).clone())
                .or_insert(Err(Error::Contended));
        }
        Ok(ready)
    }

    fn draft_for_writing(
        &self,
        header: &OpenHeader,
        subject: &Subject,
        freshness: Freshness,
    ) -> Result<NewEntry> {
        let active = header.keyring.active_master().number;
        if freshness == Freshness::Cached
            && let Some(held) = self
                .core
                .entries
                .get(subject, self.core.store.clock.uptime())
            && held.entry.chart().is_some()
            && held.master == active
        {
            return Ok(NewEntry::Usable(held));
        }
        let looked_at = self.core.store.clock.uptime();
        let Some((tag, stored)) = self.stored_entry(subject)? else {
            return self.new_draft(header, subject, Expect::Absent);
        };
        let revision = stored.revision.clone();
        let head = EntryHead::parse(&stored.value)?;
        let mut held = match self.open_entry(tag, stored) {
            // A write that was never acknowledged landed after its master key was retired. Only a
            // number that this keyring itself retired proves that: behind a restored old header a
            // patient's whole chart hangs on a number that is merely unknown.
            Err(Error::UnknownMasterKey)
                if !self.core.store.storage.is_transactional()
                    && header.keyring.was_destroyed(head.master) =>
            {
                return self.new_draft(header, subject, Expect::Unchanged(revision));
            }
            // Sealed again since, under a younger master key.
            Err(Error::UnknownMasterKey) if self.changed_since(&tag, &revision)? => {
                return Ok(NewEntry::LookAgain);
            }
            opened => opened?,
        };
        held.chart()?;
        if sealed_under_younger(header, &held) {
            return Ok(NewEntry::LookAgain);
        }
        if self.refresh_keys(header, &mut held)? {
            let expect = held.expect();
            return Ok(NewEntry::ToWrite(Box::new(held), expect));
        }
        let held = Arc::new(held);
        self.core.entries.insert(subject, &held, looked_at);
        Ok(NewEntry::Usable(held))
    }

    fn new_draft(
        &self,
        header: &OpenHeader,
        subject: &Subject,
        expect: Expect,
    ) -> Result<NewEntry> {
        let name = &header.keyring.active_name_key().key;
        let held = CachedEntry {
            tag: crypto::patient_tag(name, subject.kind(), subject.identifier())?,
            master: header.keyring.active_master().number,
            revision: Revision::new(&[]),
            entry: PatientEntry::new(subject.clone(), self.core.store.clock.now())?,
            journal_tag: OnceLock::new(),
        };
        Ok(NewEntry::ToWrite(Box::new(held), expect))
    }

    /// Those that another was first with are left out, to be looked at again.
    fn write_drafts<'a>(
        &self,
        header: &OpenHeader,
        mut drafts: Vec<(&'a Subject, Box<CachedEntry>, Expect)>,
        act: &Act,
    ) -> Result<Vec<ReadyEntry<'a>>> {
        let looked_at = self.core.store.clock.uptime();
        let act = &act.to(Operation::Prepare);
        let changes = drafts
            .iter_mut()
            .map(|(_, held, expect)| {
                let put = EntryPut {
                    header,
                    held,
                    expect: expect.clone(),
                    destroying: false,
                    act,
                };
                put.change(self)
            })
            .collect::<Result<Vec<_>>>()?;
        let results = self.core.journal.commit(changes)?;
        let mut done = Vec::with_capacity(drafts.len());
        for ((subject, mut held, _), result) in drafts.into_iter().zip(results) {
            match result {
                Ok(committed) => match written(committed)? {
                    Written::Done { revision, .. } => {
                        held.stands(header, revision);
                        let held = Arc::from(held);
                        self.core.entries.insert(subject, &held, looked_at);
                        done.push((subject, Ok(held)));
                    }
                    Written::LookAgain => {}
                },
                Err(CommitError::Io(error)) => done.push((subject, Err(error.into()))),
                Err(_) => {}
            }
        }
        Ok(done)
    }
}
