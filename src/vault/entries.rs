//! Patient entries: found, held in memory, created, replaced.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::header::OpenHeader;
use super::{HELD_AT_MOST, ROUNDS, Vault, layout};
use crate::crypto::{self, ChartId, PatientTag};
use crate::error::{Error, Result};
use crate::id::Subject;
use crate::keys::entry::{Chart, EntryState, PatientEntry};
use crate::keys::sealed_entry::{EntryHead, open_entry, seal_entry};
use crate::storage::{CommitError, Entry, Expect, Revision, Stored, Transaction};

/// Most entries held in memory at a time.
const HELD: usize = 8192;

/// A patient entry, opened.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) tag: PatientTag,
    /// The master key that seals it.
    pub(super) master: u32,
    pub(super) revision: Revision,
    pub(super) entry: PatientEntry,
}

impl Held {
    /// The chart of a live subject.
    pub(super) fn chart(&self) -> Result<&Chart> {
        match self.entry.state() {
            EntryState::Live(chart) => Ok(chart),
            EntryState::Erasing { .. } | EntryState::Erased => Err(Error::Erased),
            EntryState::Alias(_) => Err(Error::Unsupported),
        }
    }

    /// Its storage key.
    pub(super) fn key(&self) -> Vec<u8> {
        layout::entry(&self.tag)
    }

    /// Expect this entry still to stand.
    pub(super) fn expect(&self) -> Expect {
        Expect::Unchanged(self.revision.clone())
    }
}

type Map = HashMap<Subject, (Arc<Held>, Duration)>;

/// Entries that were looked at lately; `None` once locked: an operation under way then must not
/// leave keys behind.
pub(super) struct EntryCache(Mutex<Option<Map>>);

impl Default for EntryCache {
    fn default() -> Self {
        Self(Mutex::new(Some(Map::new())))
    }
}

impl EntryCache {
    pub(super) fn lock(&self) {
        *self.map() = None;
    }

    fn map(&self) -> MutexGuard<'_, Option<Map>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, subject: &Subject, now: Duration) -> Option<Arc<Held>> {
        let map = self.map();
        let (held, looked_at) = map.as_ref()?.get(subject)?;
        (now.saturating_sub(*looked_at) < HELD_AT_MOST).then(|| Arc::clone(held))
    }

    fn hold(&self, subject: &Subject, held: &Arc<Held>, looked_at: Duration) {
        let mut map = self.map();
        let Some(map) = map.as_mut() else { return };
        if map.len() >= HELD {
            map.retain(|_, (_, then)| looked_at.saturating_sub(*then) < HELD_AT_MOST);
        }
        if map.len() >= HELD {
            map.clear();
        }
        map.insert(subject.clone(), (Arc::clone(held), looked_at));
    }

    fn forget(&self, subject: &Subject) {
        if let Some(map) = self.map().as_mut() {
            map.remove(subject);
        }
    }
}

/// How much a caller trusts what is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Looked at within the last minute.
    Held,
    /// Looked at now.
    Fresh,
}

/// What became of an entry that was to be written.
pub(super) enum Written {
    /// It stands, under this revision; `deferred` when former bytes may still be on the medium.
    Done { revision: Revision, deferred: bool },
    /// Another was first, the header changed, or nobody knows: look again.
    LookAgain,
}

impl Vault {
    /// The entry of a subject, and whether storage was asked just now.
    ///
    /// `None` and erasure are never answered from memory.
    pub(super) fn entry(
        &self,
        subject: &Subject,
        freshness: Freshness,
    ) -> Result<(Option<Arc<Held>>, Freshness)> {
        // Locking must hold even where the entry alone would do.
        self.header()?;
        if freshness == Freshness::Held
            && let Some(held) = self.entries.held(subject, self.store.clock.uptime())
            && held.entry.chart().is_some()
        {
            return Ok((Some(held), Freshness::Held));
        }
        let looked_at = self.store.clock.uptime();
        let found = self.find_entry(subject)?.map(Arc::new);
        match &found {
            Some(held) => self.entries.hold(subject, held, looked_at),
            None => self.entries.forget(subject),
        }
        Ok((found, Freshness::Fresh))
    }

    /// The entry of a subject as it stands in storage now, to be changed.
    pub(super) fn find_entry(&self, subject: &Subject) -> Result<Option<Held>> {
        for round in 0..ROUNDS {
            self.store.back_off(round);
            let Some((tag, stored)) = self.stored_entry(subject)? else {
                return Ok(None);
            };
            let revision = stored.revision.clone();
            match self.open_entry(tag, stored) {
                // Sealed again since, under a younger master key.
                Err(Error::UnknownMasterKey) if self.changed_since(&tag, &revision)? => {}
                opened => return opened.map(Some),
            }
        }
        Err(Error::Contended)
    }

    fn changed_since(&self, tag: &PatientTag, revision: &Revision) -> Result<bool> {
        let now = self.store.read_one(&layout::entry(tag))?;
        Ok(now.is_none_or(|now| now.revision != *revision))
    }

    /// Looks under the name keys in stored order.
    pub(super) fn stored_entry(&self, subject: &Subject) -> Result<Option<(PatientTag, Stored)>> {
        let header = self.header()?;
        let tags = header
            .keyring
            .name_keys()
            .map(|name| crypto::patient_tag(&name.key, subject.kind(), subject.identifier()))
            .collect::<Result<Vec<_>>>()?;
        let keys: Vec<_> = tags.iter().map(layout::entry).collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        let stored = self.store.storage.read(&keys)?;
        Ok(tags
            .into_iter()
            .zip(stored)
            .find_map(|(tag, stored)| stored.map(|stored| (tag, stored))))
    }

    /// Opens an entry; an unknown master key or a newer generation makes it load the header again,
    /// once.
    pub(super) fn open_entry(&self, tag: PatientTag, stored: Stored) -> Result<Held> {
        match self.open_entry_under(&*self.header()?, tag, &stored) {
            Err(Error::UnknownMasterKey | Error::HeaderRolledBack) => {
                self.open_entry_under(&*self.reload_header()?, tag, &stored)
            }
            opened => opened,
        }
    }

    /// Opens an entry that a scan returned; `None` when it is gone since. One that was sealed again
    /// meanwhile, under a master key whose predecessor has gone, is read once more.
    pub(super) fn open_listed(&self, listed: Entry) -> Result<Option<Held>> {
        let Entry {
            key,
            value,
            revision,
        } = listed;
        let tag = layout::entry_tag(&key).ok_or(Error::Malformed)?;
        match self.open_entry(tag, Stored { value, revision }) {
            Err(Error::UnknownMasterKey) => match self.store.read_one(&key)? {
                Some(stored) => self.open_entry(tag, stored).map(Some),
                None => Ok(None),
            },
            opened => opened.map(Some),
        }
    }

    pub(super) fn open_entry_under(
        &self,
        header: &OpenHeader,
        tag: PatientTag,
        stored: &Stored,
    ) -> Result<Held> {
        let head = EntryHead::parse(&stored.value)?;
        let vault = header.header.vault();
        let entry = open_entry(&stored.value, &header.keyring, vault, &tag)?;
        let newer = entry.generation() > header.header.generation();
        if newer && self.require_writable().is_ok() {
            return Err(Error::HeaderRolledBack);
        }
        Ok(Held {
            tag,
            master: head.master,
            revision: stored.revision.clone(),
            entry,
        })
    }

    /// `[ put p ; ?v ]`: seals and writes an entry, under the active master key of `header`.
    pub(super) fn write_entry(
        &self,
        header: &OpenHeader,
        tag: &PatientTag,
        entry: &mut PatientEntry,
        expect: Expect,
        destroying: bool,
    ) -> Result<Written> {
        let transaction = self.entry_transaction(header, tag, entry, expect, destroying)?;
        match self.store.commit(transaction) {
            Ok(done) => written(done),
            Err(CommitError::Io(error)) => Err(error.into()),
            Err(_) => Ok(Written::LookAgain),
        }
    }

    /// The transaction that [`Vault::write_entry`] commits.
    pub(super) fn entry_transaction(
        &self,
        header: &OpenHeader,
        tag: &PatientTag,
        entry: &mut PatientEntry,
        expect: Expect,
        destroying: bool,
    ) -> Result<Transaction> {
        let master = header.keyring.active_master();
        let value = seal_entry(
            header.header.suite(),
            master,
            header.header.vault(),
            tag,
            header.header.generation(),
            entry,
        )?;
        let transaction = Transaction::new();
        let transaction = if destroying {
            transaction.put_destroying(layout::entry(tag), value, expect)
        } else {
            transaction.put(layout::entry(tag), value, expect)
        };
        Ok(transaction.check(layout::HEADER, header.expect()))
    }

    /// Changes the entry of a subject: `change` answers whether there is anything to write. Looks
    /// again, and asks again, whenever another was first.
    ///
    /// The answer is the entry as it stands, and whether purging the former bytes was deferred.
    pub(super) fn change_entry(
        &self,
        subject: &Subject,
        destroying: bool,
        mut change: impl FnMut(&mut PatientEntry) -> Result<bool>,
    ) -> Result<Option<(Arc<Held>, bool)>> {
        self.require_writable()?;
        // After an answer that left the outcome open, nobody said that former bytes are gone.
        let mut deferred = false;
        for round in 0..ROUNDS {
            self.store.back_off(round);
            let header = if round == 0 {
                self.header()?
            } else {
                self.reload_header()?
            };
            let looked_at = self.store.clock.uptime();
            let Some(mut held) = self.find_entry(subject)? else {
                return Ok(None);
            };
            if sealed_under_younger(&header, &held) {
                continue;
            }
            let stale = self.refresh_keys(&header, &mut held)?;
            if change(&mut held.entry)? || stale {
                let expect = held.expect();
                let (tag, entry) = (held.tag, &mut held.entry);
                match self.write_entry(&header, &tag, entry, expect, destroying)? {
                    Written::Done {
                        revision,
                        deferred: later,
                    } => {
                        held.revision = revision;
                        held.master = header.keyring.active_master().number;
                        deferred |= later;
                    }
                    Written::LookAgain => {
                        deferred = destroying;
                        continue;
                    }
                }
            }
            let held = Arc::new(held);
            self.entries.hold(subject, &held, looked_at);
            return Ok(Some((held, deferred)));
        }
        Err(Error::Contended)
    }

    /// An entry under a former master key gets a new patient key before it is used or written: the
    /// master key may have leaked.
    fn refresh_keys(&self, header: &OpenHeader, held: &mut Held) -> Result<bool> {
        let stale = held.master != header.keyring.active_master().number;
        if stale && held.entry.chart().is_some() {
            held.entry.rotate_key(self.store.clock.now())?;
        }
        Ok(stale)
    }

    /// The entries of subjects that are to be written to: created where there are none, sealed
    /// again where their master key is not the active one. New ones become durable together.
    pub(super) fn entries_for_writing(
        &self,
        subjects: &HashMap<&Subject, Freshness>,
    ) -> Result<HashMap<Subject, Result<Arc<Held>>>> {
        self.require_writable()?;
        let mut ready = HashMap::with_capacity(subjects.len());
        for round in 0..ROUNDS {
            self.store.back_off(round);
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
                    Ok(Draft::Usable(held)) => drop(ready.insert((*subject).clone(), Ok(held))),
                    Ok(Draft::ToWrite(held, expect)) => drafts.push((*subject, held, expect)),
                    Ok(Draft::LookAgain) => again = true,
                    Err(error) => drop(ready.insert((*subject).clone(), Err(error))),
                }
            }
            if drafts.is_empty() && !again {
                return Ok(ready);
            }
            for (subject, written) in self.write_drafts(&header, drafts)? {
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
    ) -> Result<Draft> {
        let active = header.keyring.active_master().number;
        if freshness == Freshness::Held
            && let Some(held) = self.entries.held(subject, self.store.clock.uptime())
            && held.entry.chart().is_some()
            && held.master == active
        {
            return Ok(Draft::Usable(held));
        }
        let looked_at = self.store.clock.uptime();
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
                if !self.store.storage.is_transactional()
                    && header.keyring.was_retired(head.master) =>
            {
                return self.new_draft(header, subject, Expect::Unchanged(revision));
            }
            // Sealed again since, under a younger master key.
            Err(Error::UnknownMasterKey) if self.changed_since(&tag, &revision)? => {
                return Ok(Draft::LookAgain);
            }
            opened => opened?,
        };
        held.chart()?;
        if sealed_under_younger(header, &held) {
            return Ok(Draft::LookAgain);
        }
        if self.refresh_keys(header, &mut held)? {
            let expect = held.expect();
            return Ok(Draft::ToWrite(Box::new(held), expect));
        }
        let held = Arc::new(held);
        self.entries.hold(subject, &held, looked_at);
        Ok(Draft::Usable(held))
    }

    fn new_draft(&self, header: &OpenHeader, subject: &Subject, expect: Expect) -> Result<Draft> {
        let name = &header.keyring.active_name_key().key;
        let held = Held {
            tag: crypto::patient_tag(name, subject.kind(), subject.identifier())?,
            master: header.keyring.active_master().number,
            revision: Revision::new(&[]),
            entry: PatientEntry::new(subject.clone(), self.store.clock.now())?,
        };
        Ok(Draft::ToWrite(Box::new(held), expect))
    }

    /// Those that another was first with are left out, to be looked at again.
    fn write_drafts<'a>(
        &self,
        header: &OpenHeader,
        mut drafts: Vec<(&'a Subject, Box<Held>, Expect)>,
    ) -> Result<Vec<Ready<'a>>> {
        let looked_at = self.store.clock.uptime();
        let transactions = drafts
            .iter_mut()
            .map(|(_, held, expect)| {
                let (tag, expect) = (held.tag, expect.clone());
                self.entry_transaction(header, &tag, &mut held.entry, expect, false)
            })
            .collect::<Result<Vec<_>>>()?;
        let results = self.store.storage.commit(&transactions);
        let mut done = Vec::with_capacity(drafts.len());
        for ((subject, mut held, _), result) in drafts.into_iter().zip(results) {
            match result {
                Ok(committed) => match written(committed)? {
                    Written::Done { revision, .. } => {
                        held.revision = revision;
                        held.master = header.keyring.active_master().number;
                        let held = Arc::from(held);
                        self.entries.hold(subject, &held, looked_at);
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

    /// Drops what is held of a subject, after its entry was seen to change.
    pub(super) fn forget_entry(&self, subject: &Subject) {
        self.entries.forget(subject);
    }

    /// The live chart of a subject, looked at now; `None` where there is no entry.
    pub(super) fn live_entry(&self, subject: &Subject) -> Result<Option<Arc<Held>>> {
        let (held, _) = self.entry(subject, Freshness::Fresh)?;
        if let Some(held) = &held {
            held.chart()?;
        }
        Ok(held)
    }
}

/// An entry that can be written to, or why not.
type Ready<'a> = (&'a Subject, Result<Arc<Held>>);

enum Draft {
    Usable(Arc<Held>),
    ToWrite(Box<Held>, Expect),
    /// The header or the entry is not what it was.
    LookAgain,
}

/// Whether an entry is sealed under a master key that `header` is too old to hold. Sealing it again
/// under an older one would undo a rotation, and a stalled write of that kind could land after the
/// older key is gone: the whole chart would hang on it.
fn sealed_under_younger(header: &OpenHeader, held: &Held) -> bool {
    header.keyring.master(held.master).is_none()
}

fn written(done: crate::storage::Committed) -> Result<Written> {
    let deferred = done.deferred;
    let revision = done.revisions.into_iter().next().flatten();
    Ok(
        revision.map_or(Written::LookAgain, |revision| Written::Done {
            revision,
            deferred,
        }),
    )
}

/// The chart id, for comparisons with what was seen before.
pub(super) fn chart_id(held: &Held) -> Result<ChartId> {
    held.chart().map(|chart| *chart.id())
}
