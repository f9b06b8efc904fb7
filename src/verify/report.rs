//! Verification report and its findings.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::crypto::{ChartId, PatientTag, RecordTag, SubjectTag};
use crate::id::{RecordId, Subject};
use crate::verify::integrity::StorageFindings;
use crate::verify::journal_fault::JournalFinding;

/// Kind of difference between a stored object and the journal.
///
/// ```
/// # use chartlock::verify::FindingKind;
/// assert_ne!(FindingKind::RolledBack, FindingKind::Altered);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The stored bytes were never written at this storage key, or cannot be read.
    Altered,
    /// The object is unchanged, but its key was destroyed.
    Unreadable,
    /// The object was written, but is not stored.
    Missing,
    /// The object is stored and opens, although the journal does not record its write, or although
    /// the object was erased or expunged.
    Unexpected,
    /// An older state of the object is stored, although a newer one was written.
    RolledBack,
    /// At least one segment of the content is not stored.
    ContentMissing,
    /// At least one segment of the content has another length than that of the record, or does not
    /// open.
    ContentAltered,
    /// Two writers wrote the object without having seen each other's writes, because the storage
    /// mixes the vault with a copy that was used separately.
    Forked,
    /// A re-encryption sealed content again that the journal does not record as content of this
    /// version, or that an earlier re-encryption had replaced. The content opens, but may be forged.
    /// Only an accepted restore ends this finding.
    ReencryptedTampered,
}

/// Finding on one version of a record, or on a run of consecutive versions.
///
/// `Debug` reveals no identity. The serialized form includes the subject and the record's name, if
/// known. A record's name is sealed inside the record, so for a missing or unreadable record only
/// the tag is known.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let report = vault.verify(None)?;
/// for found in &report.records {
///     println!("{:?} {:?}", found.kind, found.id().map(|id| id.name().to_owned()));
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordFinding {
    /// Kind of difference found.
    pub kind: FindingKind,
    /// The record's subject, if the patient entry opens.
    #[serde(serialize_with = "subject")]
    pub subject: Option<Subject>,
    /// The record's name, if one of its versions opens.
    pub name: Option<Box<str>>,
    /// Chart of the record.
    #[serde(serialize_with = "hex")]
    pub chart: ChartId,
    /// Tag of the record in storage.
    #[serde(serialize_with = "hex")]
    pub record: RecordTag,
    /// The first version that the finding concerns.
    pub version: u64,
    /// Number of consecutive versions that the finding concerns, at least 1.
    pub versions: u64,
    /// The version that is stored instead of `version`, if any.
    pub stored: Option<u64>,
}

impl RecordFinding {
    pub(super) fn record_key(&self) -> (ChartId, RecordTag) {
        (self.chart, self.record)
    }

    /// Returns the record's id, if both its subject and its name are known.
    pub fn id(&self) -> Option<RecordId> {
        RecordId::stored(self.subject.clone()?, self.name.as_ref()?).ok()
    }
}

impl fmt::Debug for RecordFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, version, .. } = self;
        write!(f, "RecordFinding({kind:?}, version {version}, ..)")
    }
}

/// Finding on a patient entry. The records of the subject cannot be opened without the entry.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let report = vault.verify(None)?;
/// for found in &report.entries {
///     println!("{:?}, expected sequence {:?}", found.kind, found.sequence);
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EntryFinding {
    /// Kind of difference.
    pub kind: FindingKind,
    /// The subject, if one of the subject's entries opens.
    #[serde(serialize_with = "subject")]
    pub subject: Option<Subject>,
    /// The subject's tag in the journal, if known.
    #[serde(serialize_with = "maybe_hex")]
    pub tag: Option<SubjectTag>,
    /// The entry's tag in storage, if an entry is stored.
    #[serde(serialize_with = "maybe_hex")]
    pub entry: Option<PatientTag>,
    /// The expected sequence of the entry, if known.
    pub sequence: Option<u64>,
    /// The stored sequence of the entry, if it can be read.
    pub stored: Option<u64>,
}

impl fmt::Debug for EntryFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryFinding({:?}, ..)", self.kind)
    }
}

/// Finding on the vault's header.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let report = vault.verify(None)?;
/// for found in &report.header {
///     println!("{:?}, expected generation {:?}", found.kind, found.generation);
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeaderFinding {
    /// Kind of difference.
    pub kind: FindingKind,
    /// The expected generation, if the journal records one.
    pub generation: Option<u64>,
    /// The stored generation, if it can be read.
    pub stored: Option<u64>,
}

/// State of the journal page that a checkpoint references.
///
/// ```
/// # use chartlock::*;
/// # use chartlock::verify::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let checkpoint = vault.checkpoint()?;
/// let report = vault.verify(Some(&checkpoint))?;
/// assert_eq!(report.checkpoint, Some(CheckpointState::Intact));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckpointState {
    /// The page is stored unchanged. The chains whose heads the page contains are also unchanged,
    /// unless the report states otherwise.
    Intact,
    /// The page is missing: the journal was cut, or the whole storage was rolled back.
    Gone,
    /// A different page is stored at this position of the chain, or the page cannot be read.
    Replaced,
    /// The page is missing or replaced, but a restore was accepted after the checkpoint was
    /// created.
    BeforeRestore,
}

/// Restore that an actor accepted, as the journal records it.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// let plan = session.plan_restore(None, None)?;
/// session.accept_restore(&plan, access::Reason::new("disk failure on ward 3")?)?;
/// let report = vault.verify(None)?;
/// assert_eq!(&*report.restores[0].reason, "disk failure on ward 3");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AcceptedRestore {
    /// Time of acceptance, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Actor who accepted the restore.
    pub actor: Box<str>,
    /// Reason that the actor gave for accepting the restore.
    pub reason: Box<str>,
}

impl fmt::Debug for AcceptedRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AcceptedRestore(at {}, ..)", self.at)
    }
}

/// Counts of the objects that a verification checked.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// assert_eq!(vault.verify(None)?.counts.subjects, 0);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Number of journal chains.
    pub chains: u64,
    /// Number of journal pages that open.
    pub pages: u64,
    /// Number of archived journal pages, whose summaries were read.
    pub archived_pages: u64,
    /// Number of journal entries on the pages that open, without archived pages.
    pub entries: u64,
    /// Number of live subjects.
    pub subjects: u64,
    /// Number of subjects that are erased or being erased.
    pub erased: u64,
    /// Number of current versions of records, retractions included.
    pub records: u64,
    /// Number of earlier versions of records.
    pub earlier_versions: u64,
    /// Number of content segments.
    pub segments: u64,
}

/// Report of a verification, with all findings.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let report = vault.verify(None)?;
/// assert!(report.is_clean());
/// assert_eq!((report.counts.subjects, report.counts.records), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Faults in the structures of the storage. Zeros for a storage that cannot check itself.
    pub storage: StorageFindings,
    /// Finding on the header.
    pub header: Option<HeaderFinding>,
    /// Findings on the journal.
    pub journal: Vec<JournalFinding>,
    /// `true` if a rotation of the journal keys did not end, so that new pages under the former keys
    /// are still believed. Another rotation finishes it; on transactional storage, opening the vault
    /// also does.
    pub journal_keys_closing: bool,
    /// Findings on patient entries.
    pub entries: Vec<EntryFinding>,
    /// Findings on records.
    pub records: Vec<RecordFinding>,
    /// State of the checkpoint that the caller passed, if any.
    pub checkpoint: Option<CheckpointState>,
    /// Restores that were accepted. The differences accepted with them are no longer findings.
    pub restores: Vec<AcceptedRestore>,
    /// Harmless versions that sessions do not show. A crash, a late write or an interrupted expunge
    /// left them in storage. The next put, expunge or erasure removes them.
    pub leftovers: Vec<RecordFinding>,
    /// Findings on records that open but are not journaled, while journal pages are missing or
    /// altered. The missing pages may have recorded these writes.
    pub unattested: Vec<RecordFinding>,
    /// Findings on patient entries that open but are not journaled, while journal pages are missing
    /// or altered.
    pub unattested_entries: Vec<EntryFinding>,
    /// Counts of the checked objects.
    pub counts: Counts,
    /// `true` if all content above 64 KiB was opened. Otherwise, verification opened each record, but
    /// compared only the number and the lengths of its content segments.
    pub content_opened: bool,
}

impl VerifyReport {
    /// Returns `true` if the storage is whole and matches the journal, and the journal matches the
    /// checkpoint, if any.
    pub fn is_clean(&self) -> bool {
        let checkpoint = !matches!(
            self.checkpoint,
            Some(CheckpointState::Gone | CheckpointState::Replaced)
        );
        checkpoint
            && self.storage.is_clean()
            && self.header.is_none()
            && self.journal.is_empty()
            && self.entries.is_empty()
            && self.records.is_empty()
            && self.unattested.is_empty()
            && self.unattested_entries.is_empty()
    }
}

pub(super) fn subject<S: Serializer>(
    subject: &Option<Subject>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let subject = subject.as_ref().map(|subject| {
        let kind = match subject.kind() {
            crate::id::SubjectKind::Patient => "patient",
            crate::id::SubjectKind::Organization => "organization",
        };
        (kind, subject.identifier())
    });
    subject.serialize(serializer)
}

pub(super) fn hex<S: Serializer>(bytes: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*bytes)))
}

pub(super) fn maybe_hex<S: Serializer>(
    bytes: &Option<[u8; 16]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => hex(bytes, serializer),
        None => serializer.serialize_none(),
    }
}
