//! Exposure report: the records that a lost key or credential exposed in a time range.

use std::fmt;

use serde::Serialize;

use crate::audit::AuditTrail;
use crate::audit::authority::PageAuthority;
use crate::audit::entry::SubjectMark;
use crate::audit::exposure_scope::ExposureFacts;
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::error::Result;
use crate::id::Subject;

/// Descriptions of the limits that apply to every exposure report.
pub(super) const UNKNOWN: [&str; 4] = [
    "whether an attacker had the key or a copy of the storage: the report assumes that both were taken in the time range",
    "rotations and erasures after the time range: they do not change a copy that was taken before",
    "subjects that were filed before the journal began and that the vault no longer holds",
    "the names of the records: the journal contains their tags only, so the report counts them",
];

/// The key or credential that may have been exposed.
///
/// ```
/// # use chartlock::{Subject, audit::Exposed};
/// let slot = Exposed::Slot(4711); // a passphrase or key file, by its slot id
/// let key = Exposed::PatientKey(Subject::patient("MRN-1042")?, 17);
/// # let _ = (slot, key);
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exposed {
    /// The credential of a slot, identified by the slot id.
    Slot(u16),
    /// A master key, identified by the key number.
    MasterKey(u32),
    /// A patient key of a subject, identified by the key number.
    PatientKey(Subject, u32),
}

/// The scope of an exposure: the data that the exposed key or credential opens.
///
/// ```
/// # use chartlock::audit::ExposureScope;
/// assert_ne!(ExposureScope::AllSubjects, ExposureScope::JournalOnly);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExposureScope {
    /// All records of all subjects, and the journal.
    AllSubjects,
    /// The records of one subject.
    OneSubject,
    /// The journal, but no record. The journal shows actors and operations, and identifies subjects
    /// only by tag.
    JournalOnly,
    /// Nothing, because the key or slot was created after the time range or destroyed before it.
    Nothing,
}

/// A report of the data that an attacker could read with a stolen key and a copy of the storage.
///
/// The report is an upper bound: it assumes that key and copy were both taken in the time range.
/// The report also states its limits. `Debug` shows no names.
///
/// ```
/// # use chartlock::audit::{AuditTrail, Exposed, Timestamp};
/// # fn show(trail: &AuditTrail, lost: Timestamp, found: Timestamp) -> Result<(), chartlock::Error> {
/// let report = trail.exposure(&Exposed::Slot(4711), lost..found)?;
/// println!("{} subjects, {} records", report.subjects.len(), report.records);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExposureReport {
    /// The display text of the exposed key or credential.
    pub exposed: String,
    /// The requested time range.
    pub between: TimeRange,
    /// The time at which the report was created.
    pub made: Timestamp,
    /// The period in which the slot or key existed, as far as is known.
    pub key_lifetime: KeyLifetime,
    /// The times at which the slot's credential was replaced. Each credential opens copies of the
    /// storage that were taken while that credential was in use.
    pub replaced: Vec<Timestamp>,
    /// The scope of the exposure.
    pub scope: ExposureScope,
    /// The openings of the vault or its journal with the exposed slot, within the time range.
    pub openings: Vec<VaultOpening>,
    /// The subjects that had records at any time in the time range.
    pub subjects: Vec<ExposedSubject>,
    /// The total number of records of these subjects.
    pub records: u64,
    /// The total number of versions of these records.
    pub versions: u64,
    /// The number of subjects that were erased before the time range began, and so were not
    /// exposed.
    pub erased_before: u64,
    /// The number of subjects that existed in the time range according to the vault, but not
    /// according to the journal. The report does not count the records of these subjects.
    pub not_in_the_journal: u64,
    /// The parts of the journal that could not be read. If there are any, the report may lack
    /// subjects.
    pub unreadable: UnreadableParts,
    /// States whether the report checked that a vault wrote the pages that it shows.
    pub authority: PageAuthority,
    /// Descriptions of the limits of the report.
    pub unknown: Vec<&'static str>,
}

/// The period in which a slot or key existed, as far as is known.
///
/// ```
/// # use chartlock::audit::KeyLifetime;
/// assert_eq!(KeyLifetime::default().since, None); // unknown: possibly since the vault was created
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyLifetime {
    /// The time of creation; `None` if unknown.
    pub since: Option<Timestamp>,
    /// The time of destruction; `None` if the slot or key still exists or the time is unknown.
    pub until: Option<Timestamp>,
}

/// An opening of the vault or of its journal with the exposed slot.
///
/// ```
/// # use chartlock::audit::VaultOpening;
/// # fn show(opening: &VaultOpening) {
/// println!("{} by {}", opening.at, opening.actor);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VaultOpening {
    /// The time of the opening.
    pub at: Timestamp,
    /// The actor on whose behalf the app opened the vault or journal.
    pub actor: Box<str>,
}

/// A subject whose records were exposed, with the extent of the exposure.
///
/// ```
/// # use chartlock::audit::ExposedSubject;
/// # fn show(exposed: &ExposedSubject) {
/// println!("{}: {} records", exposed.subject, exposed.records);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExposedSubject {
    /// The exposed subject.
    pub subject: SubjectMark,
    /// The time from which the subject had records; `None` if the journal does not show this time.
    pub since: Option<Timestamp>,
    /// The time at which the subject was erased, if this was after the time range began. Copies
    /// taken before the erasure remain readable.
    pub erased: Option<Timestamp>,
    /// The number of records put before the time range ended, retracted and expunged records
    /// included.
    pub records: u64,
    /// The number of versions of these records.
    pub versions: u64,
    /// The number of records expunged before the time range ended. The journal does not show which
    /// of their versions existed in the time range.
    pub expunged: u64,
}

impl AuditTrail {
    /// Reports the data that an attacker could read with a stolen key or credential and a copy of
    /// the storage. The report assumes that both were taken in the time range.
    ///
    /// A vault's trail also takes the current patient entries into account. An auditor's trail uses
    /// only the journal.
    ///
    /// # Errors
    /// The errors of [`AuditTrail::entries`].
    pub fn exposure(
        &self,
        exposed: &Exposed,
        between: impl Into<TimeRange>,
    ) -> Result<ExposureReport> {
        let between = between.into();
        let made = Timestamp::from_millis(self.source.now());
        let only = exposed.subject();
        self.ask(only, &format!("exposure of {exposed}"))?;
        let known_subjects = self.source.subjects()?;
        let mut names = self.names.clone();
        let known = known_subjects.iter().flatten();
        let known = known.map(|known| &known.subject);
        names.subjects.extend(known.chain(only).cloned());
        // Read the whole journal, because entries before the time range show which records existed,
        // and later entries show whether the slot or key still existed.
        let entries = self.walk(names, TimeRange::default())?;
        let mut facts = ExposureFacts::new(exposed, between);
        let unreadable = unreadable::read(entries, |entry| facts.add(&entry))?;
        let read = (self.authority(), unreadable);
        facts.report(&*self.source, known_subjects, made, read)
    }
}

impl ExposedSubject {
    pub(super) fn new(subject: SubjectMark, since: Option<Timestamp>) -> Self {
        Self {
            subject,
            since,
            erased: None,
            records: 0,
            versions: 0,
            expunged: 0,
        }
    }
}

impl Exposed {
    pub(super) fn subject(&self) -> Option<&Subject> {
        match self {
            Self::PatientKey(subject, _) => Some(subject),
            Self::Slot(_) | Self::MasterKey(_) => None,
        }
    }
}

/// Writes the key or credential without identifying a subject, because the journal stores this
/// text.
impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(id) => write!(f, "the credential of slot {id}"),
            Self::MasterKey(number) => write!(f, "the master key {number}"),
            Self::PatientKey(_, number) => write!(f, "a subject's key {number}"),
        }
    }
}

impl fmt::Debug for ExposureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ExposureReport({:?}, {} subjects, ..)",
            self.scope,
            self.subjects.len()
        )
    }
}

impl fmt::Debug for VaultOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultOpening({}, ..)", self.at)
    }
}

impl fmt::Debug for ExposedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExposedSubject({} records, ..)", self.records)
    }
}
