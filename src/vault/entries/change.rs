//! Changes to a patient entry by compare-and-swap, with retries after a conflict.

use std::sync::Arc;

use smallvec::smallvec;

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::{Act, JournaledChange, SealedEntry, SubjectRef, Target};
use crate::keys::entry::PatientEntry;
use crate::keys::sealed_entry::seal_entry;
use crate::storage::{CommitError, Committed, Expect, Revision, Transaction};
use crate::vault::entries::CachedEntry;
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, Vault};

/// What a change did to a patient entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryChange {
    /// Nothing, so the entry need not be written.
    None,
    /// A change that the operation of the journal entry describes in full.
    Written,
    /// The retention was set to this time, or lifted.
    Retention(Option<i64>),
    /// The legal hold with this id was placed or lifted.
    Hold(u64),
}

impl EntryChange {
    /// Returns the target of the journal entry; `written` is the patient entry that was written, if any.
    pub(crate) fn target(self, subject: SubjectRef, written: Option<SealedEntry>) -> Target {
        match (self, written) {
            (Self::Retention(until), written) => Target::Retention {
                subject,
                written,
                until,
            },
            (Self::Hold(hold), written) => Target::Hold {
                subject,
                written,
                hold,
            },
            (Self::None | Self::Written, Some(SealedEntry { sequence, digest })) => Target::Entry {
                subject,
                sequence,
                digest,
            },
            (Self::None | Self::Written, None) => Target::Subject(subject),
        }
    }
}

/// Put of a patient entry, sealed under the active master key of `header`. The commit also checks
/// that the header is unchanged.
pub(crate) struct EntryPut<'a> {
    pub(crate) header: &'a OpenHeader,
    pub(crate) held: &'a mut CachedEntry,
    pub(crate) expect: Expect,
    /// `true` if the former value must be purged, because it contains keys that are being
    /// destroyed.
    pub(crate) destroying: bool,
    /// Actor and operation of the journal entry.
    pub(crate) act: &'a Act,
    /// Change that the journal entry describes.
    pub(crate) what: EntryChange,
}

impl EntryPut<'_> {
    pub(crate) fn change(self, vault: &Vault) -> Result<JournaledChange> {
        let header = &self.header.header;
        let value = seal_entry(
            header.suite(),
            self.header.keyring.active_master(),
            header.vault(),
            &self.held.tag,
            header.generation(),
            &mut self.held.entry,
        )?;
        let draft = vault.draft_of_entry(self.act, self.what, &self.held.entry, &value)?;
        let key = self.held.key();
        let transaction = if self.destroying {
            Transaction::new().put_destroying(key, value, self.expect)
        } else {
            Transaction::new().put(key, value, self.expect)
        };
        Ok(JournaledChange {
            transaction: transaction.check(storage_keys::HEADER, self.header.expect()),
            drafts: smallvec![draft],
        })
    }
}

/// Result of an entry put.
pub(super) enum EntryPutResult {
    /// The entry is stored under this revision. `deferred` is `true` if the former bytes may still
    /// be on the medium.
    Done { revision: Revision, deferred: bool },
    /// The entry or the header changed, or the outcome is unknown. The caller must read both again
    /// and retry.
    Retry,
}

impl CachedEntry {
    /// Updates the revision and the master key number after a successful put of the entry.
    pub(super) fn mark_stored(&mut self, header: &OpenHeader, revision: Revision) {
        self.revision = revision;
        self.master = header.keyring.active_master().number;
    }
}

impl Vault {
    /// Changes the entry of a subject. `change` returns whether the entry must be written, and is
    /// called again after each conflict.
    ///
    /// Returns the stored entry, and whether the backend deferred purging the former bytes; `None`
    /// when the subject has no entry.
    pub(crate) fn change_entry(
        &self,
        subject: &Subject,
        destroying: bool,
        act: &Act,
        mut change: impl FnMut(&mut PatientEntry) -> Result<bool>,
    ) -> Result<Option<(Arc<CachedEntry>, bool)>> {
        self.change_entry_as(subject, destroying, act, |entry| {
            Ok(match change(entry)? {
                true => EntryChange::Written,
                false => EntryChange::None,
            })
        })
    }

    /// Changes the entry of a subject like [`Vault::change_entry`]. `change` returns the change that the
    /// journal entry describes.
    pub(crate) fn change_entry_as(
        &self,
        subject: &Subject,
        destroying: bool,
        act: &Act,
        mut change: impl FnMut(&mut PatientEntry) -> Result<EntryChange>,
    ) -> Result<Option<(Arc<CachedEntry>, bool)>> {
        self.require_writable()?;
        let mut deferred = false;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let header = if round == 0 {
                self.header()?
            } else {
                self.reload_header()?
            };
            let read_at = self.core.store.clock.uptime();
            let Some(mut cached) = self.find_entry(subject)? else {
                return Ok(None);
            };
            if sealed_under_newer(&header, &cached) {
                continue;
            }
            let stale = self.refresh_keys(&header, &mut cached)?;
            let what = change(&mut cached.entry)?;
            if what != EntryChange::None || stale {
                let put = EntryPut {
                    header: &header,
                    expect: cached.expect(),
                    held: &mut cached,
                    destroying,
                    act,
                    what,
                };
                match self.write_entry(put)? {
                    EntryPutResult::Done {
                        revision,
                        deferred: latest,
                    } => {
                        cached.mark_stored(&header, revision);
                        deferred |= latest;
                    }
                    EntryPutResult::Retry => {
                        // Assume a deferred purge, because the put may have been committed and the
                        // reply that confirms the purge may be lost.
                        deferred = destroying;
                        continue;
                    }
                }
            }
            let cached = Arc::new(cached);
            self.cache_entry(subject, &cached, read_at);
            return Ok(Some((cached, deferred)));
        }
        Err(Error::Contended)
    }

    fn write_entry(&self, put: EntryPut<'_>) -> Result<EntryPutResult> {
        match self.commit_one(put.change(self)?)? {
            Ok(done) => put_result(done),
            Err(CommitError::Io(error)) => Err(error.into()),
            Err(_) => Ok(EntryPutResult::Retry),
        }
    }

    /// Rotates the patient key of an entry that is sealed under a former master key, because that
    /// master key may have leaked. Returns `true` if the entry must be written.
    pub(super) fn refresh_keys(
        &self,
        header: &OpenHeader,
        cached: &mut CachedEntry,
    ) -> Result<bool> {
        let stale = cached.master != header.keyring.active_master().number;
        if stale && cached.entry.chart().is_some() {
            cached.entry.rotate_key(self.core.store.clock.now())?;
        }
        Ok(stale)
    }
}

/// Returns `true` if an entry is sealed under a master key that is newer than `header`.
///
/// Sealing such an entry under an older master key would undo a rotation. If that write were
/// delayed, it could arrive after the older key was destroyed, and make the whole chart unreadable.
pub(super) fn sealed_under_newer(header: &OpenHeader, cached: &CachedEntry) -> bool {
    header.keyring.master(cached.master).is_none()
}

pub(super) fn put_result(done: Committed) -> Result<EntryPutResult> {
    let deferred = done.deferred;
    let revision = done.revisions.into_iter().next().flatten();
    Ok(
        revision.map_or(EntryPutResult::Retry, |revision| EntryPutResult::Done {
            revision,
            deferred,
        }),
    )
}
