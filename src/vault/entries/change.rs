//! Changes a patient entry by compare-and-swap, and retries after a conflict.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::{Act, JournaledChange};
use crate::keys::entry::PatientEntry;
use crate::keys::sealed_entry::seal_entry;
use crate::storage::{CommitError, Committed, Expect, Revision, Transaction};
use crate::vault::entries::CachedEntry;
use crate::vault::header::OpenHeader;
use crate::vault::{ROUNDS, Vault};

/// `[ put p ; ?v ]`: an entry that is to stand, sealed under the active master key of `header`.
pub(crate) struct EntryPut<'a> {
    pub(crate) header: &'a OpenHeader,
    pub(crate) held: &'a mut CachedEntry,
    pub(crate) expect: Expect,
    /// Whether the bytes of before must be purged: they hold keys that are being destroyed.
    pub(crate) destroying: bool,
    /// Who writes it, and what for.
    pub(crate) act: &'a Act,
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
        let told = vault.draft_of_entry(self.act, &self.held.entry, &value)?;
        let key = self.held.key();
        let transaction = if self.destroying {
            Transaction::new().put_destroying(key, value, self.expect)
        } else {
            Transaction::new().put(key, value, self.expect)
        };
        Ok(JournaledChange {
            transaction: transaction.check(storage_keys::HEADER, self.header.expect()),
            drafts: vec![told],
        })
    }
}

/// What became of an entry that was to be written.
pub(super) enum Written {
    /// It stands, under this revision; `deferred` when former bytes may still be on the medium.
    Done { revision: Revision, deferred: bool },
    /// Another was first, the header changed, or nobody knows: look again.
    LookAgain,
}

impl CachedEntry {
    /// It was written, and stands.
    pub(super) fn stands(&mut self, header: &OpenHeader, revision: Revision) {
        self.revision = revision;
        self.master = header.keyring.active_master().number;
    }
}

impl Vault {
    /// Changes the entry of a subject: `change` answers whether there is anything to write. Looks
    /// again, and asks again, whenever another was first.
    ///
    /// The answer is the entry as it stands, and whether purging the former bytes was deferred.
    pub(crate) fn change_entry(
        &self,
        subject: &Subject,
        destroying: bool,
        act: &Act,
        mut change: impl FnMut(&mut PatientEntry) -> Result<bool>,
    ) -> Result<Option<(Arc<CachedEntry>, bool)>> {
        self.require_writable()?;
        // After an answer that left the outcome open, nobody said that former bytes are gone.
        let mut deferred = false;
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let header = if round == 0 {
                self.header()?
            } else {
                self.reload_header()?
            };
            let looked_at = self.core.store.clock.uptime();
            let Some(mut held) = self.find_entry(subject)? else {
                return Ok(None);
            };
            if sealed_under_younger(&header, &held) {
                continue;
            }
            let stale = self.refresh_keys(&header, &mut held)?;
            if change(&mut held.entry)? || stale {
                let put = EntryPut {
                    header: &header,
                    expect: held.expect(),
                    held: &mut held,
                    destroying,
                    act,
                };
                match self.write_entry(put)? {
                    Written::Done {
                        revision,
                        deferred: later,
                    } => {
                        held.stands(&header, revision);
                        deferred |= later;
                    }
                    Written::LookAgain => {
                        deferred = destroying;
                        continue;
                    }
                }
            }
            let held = Arc::new(held);
            self.core.entries.insert(subject, &held, looked_at);
            return Ok(Some((held, deferred)));
        }
        Err(Error::Contended)
    }

    fn write_entry(&self, put: EntryPut<'_>) -> Result<Written> {
        match self.commit_one(put.change(self)?)? {
            Ok(done) => written(done),
            Err(CommitError::Io(error)) => Err(error.into()),
            Err(_) => Ok(Written::LookAgain),
        }
    }

    /// An entry under a former master key gets a new patient key before it is used or written: the
    /// master key may have leaked.
    pub(super) fn refresh_keys(&self, header: &OpenHeader, held: &mut CachedEntry) -> Result<bool> {
        let stale = held.master != header.keyring.active_master().number;
        if stale && held.entry.chart().is_some() {
            held.entry.rotate_key(self.core.store.clock.now())?;
        }
        Ok(stale)
    }
}

/// Whether an entry is sealed under a master key that `header` is too old to hold. Sealing it again
/// under an older one would undo a rotation, and a stalled write of that kind could land after the
/// older key is gone: the whole chart would hang on it.
pub(super) fn sealed_under_younger(header: &OpenHeader, held: &CachedEntry) -> bool {
    header.keyring.master(held.master).is_none()
}

pub(super) fn written(done: Committed) -> Result<Written> {
    let deferred = done.deferred;
    let revision = done.revisions.into_iter().next().flatten();
    Ok(
        revision.map_or(Written::LookAgain, |revision| Written::Done {
            revision,
            deferred,
        }),
    )
}
