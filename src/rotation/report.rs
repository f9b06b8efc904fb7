//! Reports of rotations and re-encryption.

use serde::Serialize;

/// Report of a master key rotation.
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
    /// Former master keys destroyed.
    pub master_keys_destroyed: u64,
    /// Entries that do not open. They prevent the destruction of former master keys.
    pub entries_blocking: u64,
    /// Entries of late writes, under a key that was destroyed before they arrived. They were never
    /// acknowledged.
    pub entries_orphaned: u64,
    /// Passes over all entries, the confirming ones included.
    pub passes: u64,
    /// `true` if bytes of the former header may still be on the medium.
    pub purge_deferred: bool,
    /// `true` if earlier recovery kits cannot read later records. Export a new kit.
    pub recovery_kits_stale: bool,
}

/// Report of a patient key rotation or a re-encryption, of one chart or of all.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let report = vault.reencrypt_subject(&Subject::patient("MRN-1042")?)?;
/// assert_eq!((report.reencrypted, report.patient_keys_destroyed), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReencryptionReport {
    /// Subjects processed.
    pub subjects: u64,
    /// Record versions whose data key was rewrapped under the new patient key.
    pub rewrapped: u64,
    /// Record versions re-encrypted under a new data key.
    pub reencrypted: u64,
    /// Content bytes that were re-encrypted.
    pub bytes: u64,
    /// Former patient keys destroyed.
    pub patient_keys_destroyed: u64,
    /// Record versions that do not open. They prevent the destruction of former patient keys.
    pub blocking: u64,
    /// Record versions of late writes, under a key that was destroyed before they arrived. They
    /// were never acknowledged.
    pub orphaned: u64,
    /// Patient entries that do not open, and were therefore skipped.
    pub unreadable_entries: u64,
    /// Subjects that were skipped because other rotations kept changing them. Call again for them.
    pub contended: u64,
    /// Passes over the charts, the confirming ones included.
    pub passes: u64,
    /// `true` if bytes of a former patient entry may still be on the medium.
    pub purge_deferred: bool,
}

impl ReencryptionReport {
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

/// Report of a root key rotation.
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
    /// Slots that contain the new root key.
    pub slots_kept: u64,
    /// Auditors' slots, which contain no root key and are unchanged.
    pub auditor_slots_kept: u64,
    /// Slots that were dropped.
    pub slots_dropped: u64,
    /// `true` if bytes of the former header may still be on the medium.
    pub purge_deferred: bool,
    /// `true` if earlier recovery kits contain the former root key. Export a new kit.
    pub recovery_kits_stale: bool,
}
