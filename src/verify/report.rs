//! The verification report and its findings.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::crypto::{ChartId, PatientTag, RecordTag, SubjectTag};
use crate::id::{RecordId, Subject};
use crate::journal::WriterId;

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
    /// The stored bytes were never written in this place.
    Altered,
    /// The object is unchanged, but its key no longer exists.
    Unreadable,
    /// The object was written, but is not stored.
    Missing,
    /// The object is stored and opens, but the journal does not name its write; or it was erased or
    /// expunged, and is stored again.
    Unexpected,
    /// An older state of the object is stored, though a newer one was written.
    RolledBack,
    /// Segments of the content are not stored.
    ContentMissing,
    /// Segments of the content do not open.
    ContentAltered,
    /// Two chains wrote the object without knowledge of each other: a copy of the vault was used
    /// separately, and the storage mixes both.
    Forked,
}

/// Finding on one version of a record.
///
/// `Debug` reveals no identity. Serialization includes the subject and the record's name, if known. A
/// record's name is sealed inside the record. So only the tag is known of a missing or unreadable one.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let report = vault.verify(None)?;
/// for found in &report.records {
///     println!("{:?} {:?}", found.kind, found.id().map(|id| id.name().to_owned()));
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordFinding {
    /// Kind of difference.
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
    /// The affected version.
    pub version: u64,
    /// The version that is stored in its place, if any.
    pub stored: Option<u64>,
}

impl RecordFinding {
    pub(super) fn place(&self) -> (ChartId, RecordTag) {
        (self.chart, self.record)
    }

    /// Returns the record's id, if both its subject and its name are known.
    pub fn id(&self) -> Option<RecordId> {
        RecordId::new(self.subject.clone()?, self.name.as_ref()?).ok()
    }
}

impl fmt::Debug for RecordFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, version, .. } = self;
        write!(f, "RecordFinding({kind:?}, version {version}, ..)")
    }
}

/// Finding on a patient entry. Without its entry, a subject's records do not open.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
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
    /// The subject, if one of its entries opens.
    #[serde(serialize_with = "subject")]
    pub subject: Option<Subject>,
    /// The subject's tag in the journal, if known.
    #[serde(serialize_with = "maybe_hex")]
    pub tag: Option<SubjectTag>,
    /// The entry's tag in storage, if an entry is stored.
    #[serde(serialize_with = "maybe_hex")]
    pub entry: Option<PatientTag>,
    /// The expected sequence, if known.
    pub sequence: Option<u64>,
    /// The stored sequence, if it can be read.
    pub stored: Option<u64>,
}

impl fmt::Debug for EntryFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryFinding({:?}, ..)", self.kind)
    }
}

/// Finding on the header.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
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
    /// The expected generation, if the journal names one.
    pub generation: Option<u64>,
    /// The stored generation, if it can be read.
    pub stored: Option<u64>,
}

/// Kind of fault in the journal.
///
/// ```
/// # use chartlock::verify::JournalFault;
/// assert_ne!(JournalFault::Cut, JournalFault::Forked);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JournalFault {
    /// Pages of a chain are missing, though later ones are stored.
    Missing,
    /// The end of a chain is missing, or the whole chain. Another chain, a checkpoint or this process
    /// has seen it.
    Cut,
    /// A page was altered, or is stored in the place of another one.
    Altered,
    /// A page does not continue the previous one: one of the two was replaced or rolled back.
    Unlinked,
    /// A page differs from the one that was seen in its place: it was replaced, or the storage mixes
    /// two copies of the vault.
    Replaced,
    /// Chains contradict each other: the storage mixes two copies of the vault.
    Forked,
    /// Objects open, but the journal does not name them. The end of the journal was cut off, or the
    /// objects come from a copy of the vault that was used separately.
    Incomplete,
    /// A newer release wrote the page.
    Unsupported,
    /// A foreign object is stored among the journal pages or the records.
    Unexpected,
}

/// Finding on the journal.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let report = vault.verify(None)?;
/// for found in &report.journal {
///     println!("{:?} from page {}", found.fault, found.page);
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalFinding {
    /// Kind of fault.
    pub fault: JournalFault,
    /// Writer of the affected chain, if there is one. The first 48 bits are the chain's start time in
    /// milliseconds since 1970, the other 10 bytes are random.
    #[serde(serialize_with = "maybe_hex")]
    pub writer: Option<WriterId>,
    /// Sequence of the first affected page.
    pub page: u64,
    /// Number of consecutive pages known to be affected.
    pub pages: u64,
}

/// State of the journal page that a checkpoint names.
///
/// ```
/// # use chartlock::*;
/// # use chartlock::verify::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let checkpoint = vault.checkpoint()?;
/// let report = vault.verify(Some(&checkpoint))?;
/// assert_eq!(report.checkpoint, Some(CheckpointState::Intact));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckpointState {
    /// The page is stored unchanged, and so are the chains that it names, unless the report says
    /// otherwise.
    Intact,
    /// The page is missing: the journal was cut, or the whole storage rolled back.
    Gone,
    /// Another page is stored in its place.
    Replaced,
    /// The page is missing or replaced, but a restore was accepted after the checkpoint was created.
    BeforeRestore,
}

/// Accepted restore.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// session.accept_restore("disk failure on ward 3", None)?;
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
    /// Reason that the actor gave.
    pub reason: Box<str>,
}

impl fmt::Debug for AcceptedRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AcceptedRestore(at {}, ..)", self.at)
    }
}

/// Numbers of objects that a verification checked.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// assert_eq!(vault.verify(None)?.counts.subjects, 0);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Journal chains.
    pub chains: u64,
    /// Journal pages that open.
    pub pages: u64,
    /// Journal entries on these pages.
    pub entries: u64,
    /// Live subjects.
    pub subjects: u64,
    /// Subjects that are erased or being erased.
    pub erased: u64,
    /// Current versions of records, retractions included.
    pub records: u64,
    /// Earlier versions of records.
    pub earlier_versions: u64,
    /// Content segments.
    pub segments: u64,
}

/// Report of a verification.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
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
    /// Finding on the header.
    pub header: Option<HeaderFinding>,
    /// Findings on the journal.
    pub journal: Vec<JournalFinding>,
    /// Findings on patient entries.
    pub entries: Vec<EntryFinding>,
    /// Findings on records.
    pub records: Vec<RecordFinding>,
    /// State of the given checkpoint.
    pub checkpoint: Option<CheckpointState>,
    /// Accepted restores. Differences at that time are no findings any more.
    pub restores: Vec<AcceptedRestore>,
    /// Harmless versions that sessions do not show. They were never acknowledged, because of a crash or
    /// a late write, or an interrupted expunge left them. The next put, expunge or erasure removes them.
    pub leftovers: Vec<RecordFinding>,
    /// Findings on records that open but are not journaled, while journal pages are missing or altered.
    /// These pages may have named the records.
    pub unattested: Vec<RecordFinding>,
    /// Findings on patient entries that open but are not journaled, for the same reason.
    pub unattested_entries: Vec<EntryFinding>,
    /// Numbers of checked objects.
    pub counts: Counts,
}

impl VerifyReport {
    /// Returns whether the storage matches the journal, and the journal matches the checkpoint.
    pub fn is_clean(&self) -> bool {
        let checkpoint = !matches!(
            self.checkpoint,
            Some(CheckpointState::Gone | CheckpointState::Replaced)
        );
        checkpoint
            && self.header.is_none()
            && self.journal.is_empty()
            && self.entries.is_empty()
            && self.records.is_empty()
            && self.unattested.is_empty()
            && self.unattested_entries.is_empty()
    }
}

fn subject<S: Serializer>(subject: &Option<Subject>, serializer: S) -> Result<S::Ok, S::Error> {
    let subject = subject.as_ref().map(|subject| {
        let kind = match subject.kind() {
            crate::id::SubjectKind::Patient => "patient",
            crate::id::SubjectKind::Organization => "organization",
        };
        (kind, subject.identifier())
    });
    subject.serialize(serializer)
}

fn hex<S: Serializer>(bytes: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*bytes)))
}

fn maybe_hex<S: Serializer>(bytes: &Option<[u8; 16]>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => hex(bytes, serializer),
        None => serializer.serialize_none(),
    }
}
