//! Reports of rotations and re-encryption.

use serde::Serialize;

/// What a master-key rotation did.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let report = vault.rotate_master_key()?;
/// assert_eq!(report.master_keys_destroyed, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RotationReport {
    /// Patient entries sealed under the new master key, each with a new active patient key.
    pub entries_resealed: u64,
    /// Former master keys removed.
    pub master_keys_destroyed: u64,
    /// Entries that do not open, and so keep former master keys from being removed.
    pub entries_blocking: u64,
    /// Entries under a key that was retired before they landed; never acknowledged.
    pub entries_orphaned: u64,
    /// Walks over all entries, the verifying ones included.
    pub passes: u64,
    /// Whether bytes of the former header may still be on the medium.
    pub purge_deferred: bool,
    /// Whether recovery kits exported before open a header that can no longer read what is written
    /// from now on: export a new one.
    pub recovery_kits_stale: bool,
}

/// What renewing the patient keys of one chart, or of all, did.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let report = vault.reencrypt_subject(&Subject::patient("MRN-1042")?)?;
/// assert_eq!((report.reencrypted, report.patient_keys_destroyed), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReencryptionReport {
    /// Subjects walked.
    pub subjects: u64,
    /// Record versions whose data key was wrapped under the new patient key.
    pub rewrapped: u64,
    /// Record versions sealed again under a new data key.
    pub reencrypted: u64,
    /// Bytes of content sealed again.
    pub bytes: u64,
    /// Former patient keys removed.
    pub patient_keys_destroyed: u64,
    /// Record versions that do not open, and so keep former patient keys from being removed.
    pub blocking: u64,
    /// Record versions under a key that was retired before they landed; never acknowledged.
    pub orphaned: u64,
    /// Entries that do not open, and so were passed over.
    pub unreadable_entries: u64,
    /// Subjects that other rotations kept changing, and so were passed over: call again for them.
    pub contended: u64,
    /// Walks over the chart, the verifying ones included.
    pub passes: u64,
    /// Whether bytes of a former patient entry may still be on the medium.
    pub purge_deferred: bool,
}

impl ReencryptionReport {
    /// Adds what was done for another subject.
    pub(crate) fn add(&mut self, other: &Self) {
        self.subjects += other.subjects;
        self.rewrapped += other.rewrapped;
        self.reencrypted += other.reencrypted;
        self.bytes += other.bytes;
        self.patient_keys_destroyed += other.patient_keys_destroyed;
        self.blocking += other.blocking;
        self.orphaned += other.orphaned;
        self.unreadable_entries += other.unreadable_entries;
        self.contended += other.contended;
        self.passes += other.passes;
        self.purge_deferred |= other.purge_deferred;
    }
}

/// What a root-key rotation did.
///
/// ```
/// # use chartlock::*;
/// # let passphrase = keys::Passphrase::new("correct horse");
/// # let vault = Vault::create(storage::MemoryStorage::new(), &passphrase)?;
/// let report = vault.rotate_root_key(&[&passphrase], &[])?;
/// assert_eq!(report.slots_kept, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RootRotationReport {
    /// Slots that hold the new root key.
    pub slots_kept: u64,
    /// Slots of auditors, which hold no root key and stay as they were.
    pub auditor_slots_kept: u64,
    /// Slots that were dropped.
    pub slots_dropped: u64,
    /// Whether bytes of the former header may still be on the medium.
    pub purge_deferred: bool,
    /// Recovery kits exported before hold the former root key: export a new one.
    pub recovery_kits_stale: bool,
}
