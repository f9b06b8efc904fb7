//! Report: what a lost key or slot exposed during a time range.

use std::fmt;

use serde::Serialize;

use crate::audit::AuditTrail;
use crate::audit::entry::SubjectMark;
use crate::audit::exposure_scope::ExposureFacts;
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::unreadable::{self, UnreadableParts};
use crate::error::Result;
use crate::id::Subject;

/// What the report cannot know, whatever was exposed.
pub(super) const UNKNOWN: [&str; 4] = [
    "whether anybody had the key, or a copy of the storage: the report says what could be read with both, taken in the window",
    "what rotations and erasures after the window changed of a copy: nothing",
    "what was put before the journal was begun, unless the vault still holds the subject",
    "which records were put or expunged under names that the journal tells as tags only: they are counted",
];

/// What may have been exposed.
///
/// ```
/// # use chartlock::{Subject, audit::Exposed};
/// let slot = Exposed::Slot(4711); // a passphrase or key file, by the id of its slot
/// let key = Exposed::PatientKey(Subject::patient("MRN-1042")?, 17);
/// # let _ = (slot, key);
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exposed {
    /// The credential of a slot, by the slot's id.
    Slot(u16),
    /// A master key, by its number.
    MasterKey(u32),
    /// A subject's key, by its number.
    PatientKey(Subject, u32),
}

/// How far something reaches.
///
/// ```
/// # use chartlock::audit::ExposureScope;
/// assert_ne!(ExposureScope::AllSubjects, ExposureScope::JournalOnly);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExposureScope {
    /// To all records of all subjects, and the journal.
    AllSubjects,
    /// To the records of one subject.
    OneSubject,
    /// To the journal: who did what to which tags, and no record.
    JournalOnly,
    /// To nothing: it came after the window, or was gone before.
    Nothing,
}

/// What could be read with a key and a copy of the storage, both taken in a window.
///
/// It is an upper bound, and says what it cannot know. `Debug` shows no names.
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
    /// What was exposed, in words.
    pub exposed: String,
    /// The window that was asked for.
    pub between: TimeRange,
    /// When the report was made.
    pub made: Timestamp,
    /// When the slot or key was there, as far as is known.
    pub key_lifetime: KeyLifetime,
    /// When the slot took another credential: each of them opens what was copied while it was there.
    pub replaced: Vec<Timestamp>,
    /// How far it reaches.
    pub scope: ExposureScope,
    /// How often the vault, or its journal, was opened with the slot in the window.
    pub openings: Vec<VaultOpening>,
    /// Whose records were there in the window, for any time of it.
    pub subjects: Vec<ExposedSubject>,
    /// The sum of their records.
    pub records: u64,
    /// The sum of the versions of those.
    pub versions: u64,
    /// Subjects that were erased before the window began: not within reach.
    pub erased_before: u64,
    /// Subjects that the vault holds now and the journal does not tell of before the window ended,
    /// though they were there: their records are not counted.
    pub not_in_the_journal: u64,
    /// What could not be read; with a gap, subjects may be missing here.
    pub unreadable: UnreadableParts,
    /// What the report cannot know.
    pub unknown: Vec<&'static str>,
}

/// When a slot or key was there, as far as is known.
///
/// ```
/// # use chartlock::audit::KeyLifetime;
/// assert_eq!(KeyLifetime::default().since, None); // not known: perhaps from the beginning
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyLifetime {
    /// Since when; `None` where nothing tells.
    pub since: Option<Timestamp>,
    /// Until when; `None` where nothing tells that it is gone.
    pub until: Option<Timestamp>,
}

/// An opening with the slot in question.
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
    /// When.
    pub at: Timestamp,
    /// Who, as it was told at opening.
    pub actor: Box<str>,
}

/// A subject whose records were within reach.
///
/// ```
/// # use chartlock::audit::ExposedSubject;
/// # fn show(one: &ExposedSubject) {
/// println!("{}: {} records", one.subject, one.records);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExposedSubject {
    /// Who.
    pub subject: SubjectMark,
    /// Since when there was something of the subject; `None` where the journal does not tell.
    pub since: Option<Timestamp>,
    /// When it was erased, if that was after the window began: what was copied before stays readable.
    pub erased: Option<Timestamp>,
    /// How many records had been put when the window ended, those retracted or expunged since included.
    pub records: u64,
    /// How many versions.
    pub versions: u64,
    /// How often a record was expunged before the window ended: what of it was there when is not told.
    pub expunged: u64,
}

impl AuditTrail {
    /// What could be read with a slot's credential or a key, and a copy of the storage, in a window.
    ///
    /// Asked of a vault, the report also looks at the entries that there are; of an auditor's slot,
    /// it knows the journal alone.
    ///
    /// # Errors
    /// Those of [`AuditTrail::entries`].
    pub fn exposure(
        &self,
        exposed: &Exposed,
        between: impl Into<TimeRange>,
    ) -> Result<ExposureReport> {
        let between = between.into();
        let made = Timestamp::from_millis(self.source.now());
        let only = exposed.subject();
        self.ask(only, &format!("exposure of {exposed}"))?;
        let held = self.source.subjects()?;
        let mut names = self.names.clone();
        let known = held.iter().flatten().map(|known| &known.subject);
        names.subjects.extend(known.chain(only).cloned());
        // What came before the window is what was there in it; what came after tells of the slot.
        let entries = self.walk(names, TimeRange::default())?;
        let mut told = ExposureFacts::new(exposed, between);
        let unreadable = unreadable::read(entries, |entry| told.take(&entry))?;
        told.report(&*self.source, held, made, unreadable)
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

/// Names no subject: it stands in reports and in the journal.
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
        write!(f, "Opening({}, ..)", self.at)
    }
}

impl fmt::Debug for ExposedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExposedSubject({} records, ..)", self.records)
    }
}
