//! Rotation of the master key: rewrites the header and each patient entry, but no record.
//!
//! ```text
//! [ put v (new master active, generation+1) Unchanged ]
//! walk p: [ put p resealed, new patient key active, Unchanged ; ?v ], until clean
//! delay ; again, until clean ; [ destroying put v without the old one ]
//! ```

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::{AccessOutcome, Act, JournaledChange, Operation, Target};
use crate::keys::entry::PatientEntry;
use crate::keys::ring::KeyState;
use crate::keys::sealed_entry::EntryHead;
use crate::rotation::confirmed_entries::ConfirmedEntries;
use crate::rotation::report::RotationReport;
use crate::storage::{CommitError, Projection, ScanItem, Stored};
use crate::telemetry;
use crate::vault::entries::change::EntryPut;
use crate::vault::entries::{CachedEntry, EntryChange};
use crate::vault::header::{HeaderChange, OpenHeader};
use crate::vault::progress::{Counter, Phase};
use crate::vault::{ROUNDS, Vault};

#[derive(Default)]
struct EntryPass {
    /// Number of entries that were not under the active master key when this pass read them.
    stale: u64,
    resealed: u64,
    blocking: u64,
    orphaned: u64,
}

impl Vault {
    /// Rotates the master key: draws a new key, seals every patient entry under the new key, and
    /// destroys all former master keys. Each live entry also gets a new active patient key for
    /// later versions. No record is read or written. Readers and writers continue concurrently.
    ///
    /// Use this method for a yearly rotation, and for a master key that may have leaked while the
    /// storage was not copied. A rotation does not protect data that was already copied: a former
    /// master key opens the copied entries. The patient keys in these entries still unwrap the data
    /// keys of earlier versions. If the entries may have been copied, run [`Vault::reencrypt`] next.
    ///
    /// After an interruption, call this method again: the rotation continues from the stored state,
    /// under another new key. Export a new recovery kit after the rotation.
    ///
    /// # Errors
    /// [`Error::Contended`] when other rotations kept interfering, [`Error::ReadOnly`],
    /// [`Error::Locked`] and errors of the storage. Entries that do not open are not an error: the
    /// report counts them, and they prevent the destruction of the former master keys.
    pub fn rotate_master_key(&self) -> Result<RotationReport> {
        let act = self.system_act(Operation::RotateMaster);
        self.journaled(&act, Target::Vault, |act| self.rotate_master(act))
    }

    fn rotate_master(&self, act: &Act) -> Result<RotationReport> {
        let now = self.core.store.clock.now();
        self.change_header(act, |before| {
            let mut keyring = before.keyring_to_change()?;
            let added = keyring.add_master(now)?;
            let keys = vec![(Operation::RotateMaster, Target::MasterKey(added))];
            let change = HeaderChange::of_keyring(before, &keyring)?;
            Ok(HeaderChange { keys, ..change })
        })?;
        let mut confirmed = ConfirmedEntries::default();
        let mut report = RotationReport {
            recovery_kits_stale: true,
            ..RotationReport::default()
        };
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let mut walked = self.reseal_until_clean(act, &mut confirmed, &mut report)?;
            if !self.core.key_removal_delay.is_zero() {
                self.wait_key_removal_delay()?;
                walked = self.reseal_until_clean(act, &mut confirmed, &mut report)?;
            }
            if report.entries_blocking > 0 {
                return Ok(report);
            }
            match self.remove_masters(act, walked, None) {
                Ok((removed, deferred)) => {
                    report.master_keys_destroyed = removed;
                    report.purge_deferred = deferred;
                    return Ok(report);
                }
                // Another rotation activated its own key, so continue with that key.
                Err(Error::KeyInUse) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    /// Destroys one former master key that a rotation kept, if no entry is under that key any more.
    ///
    /// # Errors
    /// [`Error::KeyInUse`] when an entry is under the key, or when an entry does not open and may
    /// be under the key; [`Error::NoSuchKey`] when the key does not exist or is active; otherwise
    /// the errors of [`Vault::rotate_master_key`].
    pub fn destroy_master_key(&self, number: u32) -> Result<RotationReport> {
        let act = self.system_act(Operation::DestroyMaster);
        telemetry::verb(act.operation.name(), || {
            let destroyed = self.destroy_master(&act, number);
            destroyed.inspect_err(|error| {
                let target = Target::MasterKey(number);
                self.journal_deferred(&act, target, AccessOutcome::of(error));
            })
        })
    }

    fn destroy_master(&self, act: &Act, number: u32) -> Result<RotationReport> {
        self.require_writable()?;
        let inactive = |header: &OpenHeader| {
            let cached = header.keyring.master(number);
            cached.is_some_and(|cached| cached.state == KeyState::Inactive)
        };
        if !inactive(&*self.reload_header()?) {
            return Err(Error::NoSuchKey);
        }
        self.wait_key_removal_delay()?;
        let mut report = RotationReport::default();
        let (pass, header) = self.walk_entries(act, None)?;
        report.passes = 1;
        if pass.blocking > 0 || self.seals_any_entry(number)? {
            return Err(Error::KeyInUse);
        }
        let active = header.keyring.active_master().number;
        let (removed, deferred) = self.remove_masters(act, active, Some(number))?;
        report.master_keys_destroyed = removed;
        report.purge_deferred = deferred;
        Ok(report)
    }

    fn seals_any_entry(&self, number: u32) -> Result<bool> {
        let mut found = false;
        self.each_entry(&mut |entry| {
            let head = EntryHead::parse(&entry.value);
            found |= head.is_ok_and(|head| head.master == number);
            Ok(())
        })?;
        Ok(found)
    }

    /// Destroys former master keys, if the active key is still the one that the last walk used.
    fn remove_masters(&self, act: &Act, walked: u32, only: Option<u32>) -> Result<(u64, bool)> {
        let mut removed = 0;
        let (_, deferred) = self.change_header(act, |before| {
            if before.keyring.active_master().number != walked {
                return Err(Error::KeyInUse);
            }
            let mut keyring = before.keyring_to_change()?;
            let former: Vec<u32> = keyring
                .masters()
                .filter(|cached| cached.state == KeyState::Inactive)
                .map(|cached| cached.number)
                .filter(|number| only.is_none_or(|only| only == *number))
                .collect();
            removed = former.len() as u64;
            for number in &former {
                keyring.destroy_master(*number)?;
            }
            let keys = former.into_iter().map(Target::MasterKey);
            let keys = keys.map(|key| (Operation::DestroyMaster, key)).collect();
            Ok(HeaderChange {
                destroying: true,
                keys,
                ..HeaderChange::of_keyring(before, &keyring)?
            })
        })?;
        Ok((removed, deferred))
    }

    /// Repeats the walk until every readable entry is under the active master key, and returns the
    /// number of that key.
    fn reseal_until_clean(
        &self,
        act: &Act,
        confirmed: &mut ConfirmedEntries,
        report: &mut RotationReport,
    ) -> Result<u32> {
        for round in 0..ROUNDS {
            self.core.store.back_off(round);
            let (pass, header) = self.walk_entries(act, Some(confirmed))?;
            report.passes += 1;
            report.entries_resealed += pass.resealed;
            report.entries_blocking = pass.blocking;
            report.entries_orphaned = pass.orphaned;
            // A pass is clean only if the header did not change during the pass.
            if pass.stale == 0 && self.reload_header()?.revision == header.revision {
                return Ok(header.keyring.active_master().number);
            }
        }
        Err(Error::Contended)
    }

    /// Opens all entries under one header. If `confirmed` is given, reseals the entries under former
    /// master keys, and opens only the entries that are not confirmed.
    fn walk_entries(
        &self,
        act: &Act,
        mut confirmed: Option<&mut ConfirmedEntries>,
    ) -> Result<(EntryPass, Arc<OpenHeader>)> {
        let header = self.reload_header()?;
        let activity = match confirmed {
            Some(_) => Phase::Resealing,
            None => Phase::Counting,
        };
        if let Some(confirmed) = &mut confirmed {
            confirmed.restrict_to(header.keyring.active_master().number);
        }
        let is_later_pass = confirmed.as_ref().is_some_and(|it| !it.is_empty());
        let projection = match is_later_pass {
            true => Projection::Keys,
            false => Projection::Values,
        };
        let mut counter = Counter::new(self.monitor(), activity);
        let mut pass = EntryPass::default();
        self.each_page(storage_keys::ENTRIES, projection, &mut |entries| {
            let count = entries.len() as u64;
            let entries = match &confirmed {
                Some(confirmed) if is_later_pass => self.read_unconfirmed(entries, confirmed)?,
                _ => entries,
            };
            self.walk_page(act, &header, entries, confirmed.as_deref_mut(), &mut pass)?;
            counter.add(count)
        })?;
        Ok((pass, header))
    }

    /// Reads the entries that are not confirmed, or that changed since.
    fn read_unconfirmed(
        &self,
        mut entries: Vec<ScanItem>,
        confirmed: &ConfirmedEntries,
    ) -> Result<Vec<ScanItem>> {
        entries.retain(|entry| !confirmed.contains(&entry.key, &entry.revision));
        if entries.is_empty() {
            return Ok(entries);
        }
        let keys: Vec<_> = entries.iter().map(|entry| &entry.key[..]).collect();
        let stored = self.core.store.read_each(&keys)?;
        let found = entries
            .into_iter()
            .zip(stored)
            .filter_map(|(entry, stored)| {
                let Stored { value, revision } = stored?;
                Some(ScanItem {
                    value,
                    revision,
                    ..entry
                })
            });
        Ok(found.collect())
    }

    fn walk_page(
        &self,
        act: &Act,
        header: &OpenHeader,
        entries: Vec<ScanItem>,
        mut confirmed: Option<&mut ConfirmedEntries>,
        pass: &mut EntryPass,
    ) -> Result<()> {
        let active = header.keyring.active_master().number;
        let mut resealed = Vec::new();
        let mut changes = Vec::new();
        for entry in entries {
            // The key number on the medium is not authenticated, so only an entry that opens is
            // counted.
            let Some(mut cached) = self.open_or_count(header, entry, pass) else {
                continue;
            };
            if cached.master == active {
                if let Some(confirmed) = &mut confirmed {
                    confirmed.insert(&cached.key(), &cached.revision);
                }
                continue;
            }
            pass.stale += 1;
            if confirmed.is_some() {
                renew(&mut cached.entry, self.core.store.clock.now())?;
                resealed.push((cached.entry.subject().clone(), cached.key()));
                let put = EntryPut {
                    header,
                    expect: cached.expect(),
                    held: &mut cached,
                    destroying: false,
                    act,
                    what: EntryChange::Written,
                };
                changes.push(put.change(self)?);
            }
        }
        match confirmed {
            Some(confirmed) => self.commit_entries(&resealed, changes, confirmed, pass),
            None => Ok(()),
        }
    }

    /// Opens an entry, or counts the failure in `pass` and returns `None`.
    fn open_or_count(
        &self,
        header: &OpenHeader,
        entry: ScanItem,
        pass: &mut EntryPass,
    ) -> Option<CachedEntry> {
        let ScanItem {
            key,
            value,
            revision,
            ..
        } = entry;
        let Some(tag) = storage_keys::entry_tag(&key) else {
            pass.blocking += 1;
            return None;
        };
        let stored = Stored { value, revision };
        let opened = self.open_entry_under(header, tag, &stored);
        opened
            .map_err(|error| self.count_unopened_entry(header, &stored, error, pass))
            .ok()
    }

    fn commit_entries(
        &self,
        resealed: &[(Subject, Vec<u8>)],
        changes: Vec<JournaledChange>,
        confirmed: &mut ConfirmedEntries,
        pass: &mut EntryPass,
    ) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let results = self.core.journal.commit(changes)?;
        for ((subject, key), result) in resealed.iter().zip(results) {
            self.forget_entry(subject);
            match result {
                Ok(done) => {
                    if let Some(revision) = done.revisions.first().into_iter().flatten().next() {
                        confirmed.insert(key, revision);
                    }
                    pass.resealed += 1;
                }
                Err(CommitError::Io(error)) => return Err(error.into()),
                // Do nothing, because the pass already counted the entry as stale and the next pass
                // reads it again.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn count_unopened_entry(
        &self,
        header: &OpenHeader,
        stored: &Stored,
        error: Error,
        pass: &mut EntryPass,
    ) {
        let number = EntryHead::parse(&stored.value).map(|head| head.master);
        let retired = number.is_ok_and(|number| header.keyring.was_destroyed(number));
        match error {
            Error::UnknownMasterKey if retired && !self.core.store.storage.is_transactional() => {
                pass.orphaned += 1;
            }
            // An entry that seems to be sealed under the key of a newer header also blocks. The
            // entry does not open, so its key number is unauthenticated and must not justify the
            // destruction of a key. The rotation repeats the scan under the newer header.
            _ => pass.blocking += 1,
        }
    }
}

/// Gives a live entry a new patient key, because a leaked master key exposes the former patient
/// key. A tombstone has no keys, so it is only resealed.
fn renew(entry: &mut PatientEntry, now: i64) -> Result<()> {
    if entry.chart().is_some() {
        entry.rotate_key(now)?;
    }
    Ok(())
}
