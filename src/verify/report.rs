//! The verification report and its findings.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::crypto::{ChartId, PatientTag, RecordTag, SubjectTag};
use crate::id::{RecordId, Subject};
use crate::journal::WriterId;

/// What is wrong with an object.
///
/// ```
/// # use chartlock::verify::FindingKind;
/// assert_ne!(FindingKind::RolledBack, FindingKind::Altered);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// Its bytes are none that anybody wrote there.
    Altered,
    /// It stands as it was written, but under a key that is gone.
    Unreadable,
    /// It was written, and is not there.
    Missing,
    /// It is there and opens, but the journal does not tell that anybody wrote it; or it was erased
    /// or expunged, and is back.
    Unexpected,
    /// What stands there was written there once, and something newer after it.
    RolledBack,
    /// Parts of its content are not there.
    ContentMissing,
    /// Parts of its content do not open.
    ContentAltered,
    /// Two histories tell of it, neither of which knows of the other: a copy of the vault went on by
    /// itself, and both were mixed.
    Forked,
}

/// A version of a record with which something is wrong.
///
/// `Debug` names nobody; serialization does, as far as that can be told: a record's name is sealed
/// inside it, so that of one that is missing, or does not open, only its tag is known.
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
    /// What is wrong.
    pub kind: FindingKind,
    /// Whose record, if the subject's entry opens.
    #[serde(serialize_with = "subject")]
    pub subject: Option<Subject>,
    /// What it is called, if any of its versions opens.
    pub name: Option<Box<str>>,
    /// The chart that it hangs on.
    #[serde(serialize_with = "hex")]
    pub chart: ChartId,
    /// Its tag in storage.
    #[serde(serialize_with = "hex")]
    pub record: RecordTag,
    /// The version that is concerned.
    pub version: u64,
    /// The version that stands there instead, if there is one.
    pub standing: Option<u64>,
}

impl RecordFinding {
    pub(super) fn place(&self) -> (ChartId, RecordTag) {
        (self.chart, self.record)
    }

    /// The record, if whose it is and what it is called can be told.
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

/// A subject's entry with which something is wrong. Without it, its records do not open.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let report = vault.verify(None)?;
/// for found in &report.entries {
///     println!("{:?}, should be at {:?}", found.kind, found.sequence);
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EntryFinding {
    /// What is wrong.
    pub kind: FindingKind,
    /// Whose, if an entry of this subject opens.
    #[serde(serialize_with = "subject")]
    pub subject: Option<Subject>,
    /// The subject's tag in the journal, if that can be told.
    #[serde(serialize_with = "maybe_hex")]
    pub tag: Option<SubjectTag>,
    /// The entry's tag in storage, where one stands.
    #[serde(serialize_with = "maybe_hex")]
    pub entry: Option<PatientTag>,
    /// The sequence that should stand, if that can be told.
    pub sequence: Option<u64>,
    /// The sequence that stands, if it opens.
    pub standing: Option<u64>,
}

impl fmt::Debug for EntryFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryFinding({:?}, ..)", self.kind)
    }
}

/// What is wrong with the header.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let report = vault.verify(None)?;
/// for found in &report.header {
///     println!("{:?}, should be at {:?}", found.kind, found.generation);
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeaderFinding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The generation that should stand, if the journal tells.
    pub generation: Option<u64>,
    /// The generation that stands, if it can be read.
    pub standing: Option<u64>,
}

/// What is wrong with the journal.
///
/// ```
/// # use chartlock::verify::JournalFault;
/// assert_ne!(JournalFault::Cut, JournalFault::Forked);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JournalFault {
    /// Pages are not there, though later ones of their chain are.
    Missing,
    /// The end of a chain is not there, or all of it: another chain, a checkpoint or this process
    /// has seen it.
    Cut,
    /// A page was altered, or stands in another's place.
    Altered,
    /// A page and the one before it do not belong together: one of them was exchanged or put back.
    Unlinked,
    /// Another page stands where one was seen: two copies of the vault went on from it and were
    /// mixed, or it was exchanged.
    Replaced,
    /// Chains contradict each other: two copies of the vault went on, and were mixed.
    Forked,
    /// Objects that open are newer than anything that the journal tells of them: its end was cut
    /// off, or they come from a copy of the vault that went on by itself.
    Incomplete,
    /// A page was written by a newer release.
    Unsupported,
    /// An object stands among the pages that is none.
    Unexpected,
}

/// What is wrong with a chain of the journal.
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
    /// What is wrong.
    pub fault: JournalFault,
    /// Whose chain, if one is concerned: the time at which it began (48 bits of milliseconds since
    /// 1970) and 10 random bytes.
    #[serde(serialize_with = "maybe_hex")]
    pub writer: Option<WriterId>,
    /// The first page that is concerned.
    pub page: u64,
    /// How many pages in a row are known to be concerned.
    pub pages: u64,
}

/// What has become of a checkpoint.
///
/// ```
/// # use chartlock::*;
/// # use chartlock::verify::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let checkpoint = vault.checkpoint()?;
/// let report = vault.verify(Some(&checkpoint))?;
/// assert_eq!(report.checkpoint, Some(CheckpointStanding::Stands));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckpointStanding {
    /// Its page stands, and so does what it has seen.
    Stands,
    /// Its page is gone: the journal was cut, or the whole storage put back to an older state.
    Gone,
    /// Another page stands in its place.
    Replaced,
    /// Its page is gone or replaced, but a restore was accepted after it was made.
    BeforeRestore,
}

/// A restore that somebody accepted.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// let operator = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
/// operator.accept_restore("disk failure on ward 3", None)?;
/// let report = vault.verify(None)?;
/// assert_eq!(&*report.restores[0].reason, "disk failure on ward 3");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AcceptedRestore {
    /// When: milliseconds since the Unix epoch.
    pub at: i64,
    /// By whom.
    pub actor: Box<str>,
    /// Because of what.
    pub reason: Box<str>,
}

impl fmt::Debug for AcceptedRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AcceptedRestore(at {}, ..)", self.at)
    }
}

/// How much a verification walked.
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
    /// Chains of the journal.
    pub chains: u64,
    /// Pages of the journal that open.
    pub pages: u64,
    /// Entries on them.
    pub entries: u64,
    /// Live subjects.
    pub subjects: u64,
    /// Subjects erased, or being erased.
    pub erased: u64,
    /// Current versions of records, retractions included.
    pub records: u64,
    /// Earlier versions.
    pub earlier_versions: u64,
    /// Content segments.
    pub segments: u64,
}

/// What a verification walked, and what it found.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let report = vault.verify(None)?;
/// assert!(report.is_clean());
/// assert_eq!((report.counts.subjects, report.counts.records), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// What is wrong with the header.
    pub header: Option<HeaderFinding>,
    /// What is wrong with the journal.
    pub journal: Vec<JournalFinding>,
    /// What is wrong with subjects' entries.
    pub entries: Vec<EntryFinding>,
    /// What is wrong with records.
    pub records: Vec<RecordFinding>,
    /// What has become of the checkpoint that was given.
    pub checkpoint: Option<CheckpointStanding>,
    /// Restores that were accepted; what differed then counts as meant.
    pub restores: Vec<AcceptedRestore>,
    /// What nobody is told of and no alarm: records that were never acknowledged, left by a crash or
    /// landed late, to which the next put or erasure sees; and versions of an expunged record, to which
    /// the next expunge sees.
    pub leftovers: Vec<RecordFinding>,
    /// Records that open, but whose pages of the journal are among those that are missing or altered,
    /// as far as can be told.
    pub unattested: Vec<RecordFinding>,
    /// Likewise, entries.
    pub unattested_entries: Vec<EntryFinding>,
    /// What was walked.
    pub counts: Counts,
}

impl VerifyReport {
    /// Whether everything stands as the journal tells.
    pub fn is_clean(&self) -> bool {
        let checkpoint = !matches!(
            self.checkpoint,
            Some(CheckpointStanding::Gone | CheckpointStanding::Replaced)
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
            crate::id::SubjectKind::Organization => "practice",
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
