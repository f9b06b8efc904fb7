//! Patient entries for a write, loaded from storage or created if missing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::id::Subject;
use crate::journal::{Act, Operation};
use crate::keys::sealed_entry::EntryHead;
use crate::storage::{CommitError, Expect};
use crate::vault::entries::change::{EntryPut, EntryPutResult, put_result, sealed_under_newer};
use crate::vault::entries::{CachedEntry, EntryChange, Freshness, NewSubject};
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, Vault};

/// Requirements on the patient entry of one subject for a write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryRequest {
    pub(crate) freshness: Freshness,
    /// `true` if a missing entry is only sealed, because the caller stores the entry together with
    /// the subject's first records. The storage must be transactional.
    pub(crate) with_records: bool,
}

/// Patient entry that records can be sealed under.
#[expect(
    clippy::large_enum_variant,
    reason = "the value exists only while a batch is planned"
)]
pub(crate) enum WritableEntry {
    Stored(Arc<CachedEntry>),
    /// The subject has no entry. The caller must store this entry together with the records.
    New(NewSubject),
}

/// Subject, with its stored entry or the error that prevents the write.
type WrittenDraft<'a> = (&'a Subject, Result<Arc<CachedEntry>>);

enum NewEntry {
    Usable(Arc<CachedEntry>),
    ToWrite(Box<CachedEntry>, Expect),
    /// The header or the entry changed, so the caller must read again and retry.
    Retry,
}

impl Vault {
    /// Returns writable patient entries of the given subjects.
    ///
    /// Missing entries are created or sealed, as each request requires. Entries under a former
    /// master key are sealed under the active one. All stored values become durable in one commit.
    pub(crate) fn entries_for_writing(
        &self,
        subjects: &HashMap<&Subject, EntryRequest>,
        act: &Act,
    ) -> Result<HashMap<Subject, Result<WritableEntry>>> {
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
            let mut retry = false;
            for (subject, request) in subjects {
                if ready.contains_key(*subject) {
                    continue;
                }
                let freshness = if round == 0 {
                    request.freshness
                } else {
                    Freshness::Fresh
                };
                let entry = match self.draft_for_writing(&header, subject, freshness) {
                    Ok(NewEntry::Usable(cached)) => Ok(WritableEntry::Stored(cached)),
                    Ok(NewEntry::ToWrite(cached, Expect::Absent)) if request.with_records => self
                        .seal_new_subject(&header, *cached, act)
                        .map(WritableEntry::New),
                    Ok(NewEntry::ToWrite(cached, expect)) => {
                        drafts.push((*subject, cached, expect));
                        continue;
                    }
                    Ok(NewEntry::Retry) => {
                        retry = true;
                        continue;
                    }
                    Err(error) => Err(error),
                };
                ready.insert((*subject).clone(), entry);
            }
            if drafts.is_empty() && !retry {
                return Ok(ready);
            }
            for (subject, written) in self.write_drafts(&header, drafts, act)? {
                ready.insert(subject.clone(), written.map(WritableEntry::Stored));
            }
            if ready.len() == subjects.len() {
                return Ok(ready);
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
            && let Some(cached) = self
                .core
                .entries
                .get(subject, self.core.store.clock.uptime())
            && cached.entry.chart().is_some()
            && cached.master == active
        {
            return Ok(NewEntry::Usable(cached));
        }
        let read_at = self.core.store.clock.uptime();
        let Some((tag, stored)) = self.stored_entry(subject)? else {
            let new = Box::new(self.new_entry(header, subject)?);
            return Ok(NewEntry::ToWrite(new, Expect::Absent));
        };
        let revision = stored.revision.clone();
        let head = EntryHead::parse(&stored.value)?;
        let mut cached = match self.open_entry(tag, stored) {
            // Replace an entry whose unacknowledged write arrived after its master key was
            // destroyed. Only the keyring's list of destroyed key numbers proves such a late write.
            // After the restore of an old header, the key may be missing from the keyring without
            // having been destroyed. Replacing the entry would then lose the whole chart.
            Err(Error::UnknownMasterKey)
                if !self.core.store.storage.is_transactional()
                    && header.keyring.was_destroyed(head.master) =>
            {
                let new = Box::new(self.new_entry(header, subject)?);
                return Ok(NewEntry::ToWrite(new, Expect::Unchanged(revision)));
            }
            // Retry, because a concurrent rotation sealed the entry under a newer master key.
            Err(Error::UnknownMasterKey) if self.changed_since(&tag, &revision)? => {
                return Ok(NewEntry::Retry);
            }
            opened => opened?,
        };
        cached.chart()?;
        if sealed_under_newer(header, &cached) {
            return Ok(NewEntry::Retry);
        }
        if self.refresh_keys(header, &mut cached)? {
            let expect = cached.expect();
            return Ok(NewEntry::ToWrite(Box::new(cached), expect));
        }
        let cached = Arc::new(cached);
        self.cache_entry(subject, &cached, read_at);
        Ok(NewEntry::Usable(cached))
    }

    /// Writes drafted entries in one commit. The result omits entries that met a conflict, and the
    /// caller reads these entries again.
    fn write_drafts<'a>(
        &self,
        header: &OpenHeader,
        mut drafts: Vec<(&'a Subject, Box<CachedEntry>, Expect)>,
        act: &Act,
    ) -> Result<Vec<WrittenDraft<'a>>> {
        let read_at = self.core.store.clock.uptime();
        let act = &act.to(Operation::Prepare);
        let changes = drafts
            .iter_mut()
            .map(|(_, cached, expect)| {
                let put = EntryPut {
                    header,
                    held: cached,
                    expect: expect.clone(),
                    destroying: false,
                    act,
                    what: EntryChange::Written,
                };
                put.change(self)
            })
            .collect::<Result<Vec<_>>>()?;
        let results = self.core.journal.commit(changes)?;
        let mut stored = Vec::with_capacity(drafts.len());
        for ((subject, mut cached, _), result) in drafts.into_iter().zip(results) {
            match result {
                Ok(committed) => match put_result(committed)? {
                    EntryPutResult::Done { revision, .. } => {
                        cached.mark_stored(header, revision);
                        let cached = Arc::from(cached);
                        self.cache_entry(subject, &cached, read_at);
                        stored.push((subject, Ok(cached)));
                    }
                    EntryPutResult::Retry => {}
                },
                Err(CommitError::Io(error)) => stored.push((subject, Err(error.into()))),
                Err(_) => {}
            }
        }
        Ok(stored)
    }
}
