//! Reports of rotations and re-encryption.

use serde::Serialize;

/// Report of a master key rotation.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let report = vault.rotate_master_key()?;
/// assert_eq!(report.master_keys_destroyed, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RotationReport {
    /// Number of patient entries sealed under the new master key. Each live entry also got a new
    /// active patient key.
    pub entries_resealed: u64,
    /// Number of former master keys destroyed.
    pub master_keys_destroyed: u64,
    /// Number of entries that do not open. Such entries prevent the destruction of former master
    /// keys.
    pub entries_blocking: u64,
    /// Number of entries that late writes stored under a key that was already destroyed. These
    /// writes were never acknowledged.
    pub entries_orphaned: u64,
    /// Number of passes over all entries, including passes that only confirm the result.
    pub passes: u64,
    /// `true` if bytes of the former header may still be on the medium.
    pub purge_deferred: bool,
    /// `true` if earlier recovery kits cannot read later records. Export a new kit.
    pub recovery_kits_stale: bool,
}

/// Report of a patient key rotation or a re-encryption, of one chart or of all charts.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let report = vault.reencrypt_subject(&Subject::patient("MRN-1042")?)?;
/// assert_eq!((report.reencrypted, report.patient_keys_destroyed), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReencryptionReport {
    /// Number of subjects processed.
    pub subjects: u64,
    /// Number of record versions whose data key was rewrapped under the new patient key.
    pub rewrapped: u64,
    /// Number of record versions re-encrypted under a new data key.
    pub reencrypted: u64,
    /// Number of content bytes re-encrypted.
    pub bytes: u64,
    /// Number of former patient keys destroyed.
    pub patient_keys_destroyed: u64,
    /// Number of record versions that do not open. Such versions prevent the destruction of former
    /// patient keys.
    pub blocking: u64,
    /// Number of record versions that late writes stored under a key that was already destroyed.
    /// These writes were never acknowledged.
    pub orphaned: u64,
    /// Number of patient entries that do not open. Their charts were skipped.
    pub unreadable_entries: u64,
    /// Number of subjects that were skipped because other rotations kept changing their entries.
    /// Call the method again to re-encrypt these subjects.
    pub contended: u64,
    /// Number of passes over the charts, including passes that only confirm the result.
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

/// Report of a rotation of the journal keys.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let report = vault.rotate_journal_keys(&[], &[])?;
/// assert!(report.pages.is_some());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalRotationReport {
    /// Number of auditors' slots that contain the new journal key.
    pub slots_kept: u64,
    /// Number of auditors' slots dropped.
    pub slots_dropped: u64,
    /// Number of journal pages under the former keys, which verification continues to believe. `None`
    /// if the former keys could not be closed yet. Verification then still believes new pages under
    /// them. Rotate again or, on transactional storage, open the vault again.
    pub pages: Option<u64>,
    /// `true` if bytes of the former header may still be on the medium.
    pub purge_deferred: bool,
    /// `true` if earlier recovery kits contain the former journal key. Export a new kit.
    pub recovery_kits_stale: bool,
}

/// Report of a root key rotation.
///
/// ```
/// # use chartlock::*;
/// # let passphrase = keys::Passphrase::new("correct horse battery staple");
/// # let vault = Vault::create(storage::MemoryStorage::new(), &passphrase)?;
/// let report = vault.rotate_root_key(&[&passphrase], &[])?;
/// assert_eq!(report.slots_kept, 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RootRotationReport {
    /// Number of slots that contain the new root key.
    pub slots_kept: u64,
    /// Number of auditors' slots that contain the new journal key.
    pub auditor_slots_kept: u64,
    /// Number of slots dropped.
    pub slots_dropped: u64,
    /// Number of journal pages under the former journal keys, as in
    /// [`JournalRotationReport::pages`].
    pub journal_pages: Option<u64>,
    /// `true` if bytes of the former header may still be on the medium.
    pub purge_deferred: bool,
    /// `true` if earlier recovery kits contain the former root key. Export a new kit.
    pub recovery_kits_stale: bool,
}
