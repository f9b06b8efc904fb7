//! What was within reach of a key while somebody may have had it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::AuditTrail;
use super::auditor;
use super::desk::{Desk, Known};
use super::entry::{AuditEntry, SubjectMark};
use super::gaps::{self, Gaps};
use super::names;
use super::time::{Between, Time};
use crate::error::Result;
use crate::id::Subject;
use crate::journal::{Operation, Outcome};

/// What the report cannot know, whatever was exposed.
const UNKNOWN: [&str; 4] = [
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
/// # use chartlock::audit::Reach;
/// assert_ne!(Reach::AllSubjects, Reach::JournalOnly);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reach {
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
/// # use chartlock::audit::{AuditTrail, Exposed, Time};
/// # fn show(trail: &AuditTrail<'_>, lost: Time, found: Time) -> Result<(), chartlock::Error> {
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
    pub between: Between,
    /// When the report was made.
    pub made: Time,
    /// When the slot or key was there, as far as is known.
    pub existed: Existed,
    /// When the slot took another credential: each of them opens what was copied while it was there.
    pub replaced: Vec<Time>,
    /// How far it reaches.
    pub reach: Reach,
    /// How often the vault, or its journal, was opened with the slot in the window.
    pub openings: Vec<Opening>,
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
    pub gaps: Gaps,
    /// What the report cannot know.
    pub unknown: Vec<&'static str>,
}

/// When a slot or key was there, as far as is known.
///
/// ```
/// # use chartlock::audit::Existed;
/// assert_eq!(Existed::default().since, None); // not known: perhaps from the beginning
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Existed {
    /// Since when; `None` where nothing tells.
    pub since: Option<Time>,
    /// Until when; `None` where nothing tells that it is gone.
    pub until: Option<Time>,
}

/// An opening with the slot in question.
///
/// ```
/// # use chartlock::audit::Opening;
/// # fn show(opening: &Opening) {
/// println!("{} by {}", opening.at, opening.actor);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Opening {
    /// When.
    pub at: Time,
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
    pub since: Option<Time>,
    /// When it was erased, if that was after the window began: what was copied before stays readable.
    pub erased: Option<Time>,
    /// How many records there were when the window ended, those retracted included.
    pub records: u64,
    /// How many versions.
    pub versions: u64,
    /// How many of the records were expunged before the window ended.
    pub expunged: u64,
}

impl AuditTrail<'_> {
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
        between: impl Into<Between>,
    ) -> Result<ExposureReport> {
        let between = between.into();
        let made = Time::from_millis(self.desk.now());
        let only = exposed.subject();
        self.ask(only, &format!("exposure of {exposed}"))?;
        let held = self.desk.subjects()?;
        let mut names = self.names.clone();
        let known = held.iter().flatten().map(|known| &known.subject);
        names.subjects.extend(known.chain(only).cloned());
        // What came before the window is what was there in it; what came after tells of the slot.
        let entries = self.walk(names, Between::default())?;
        let mut told = Told::new(exposed, between);
        let gaps = gaps::read(entries, |entry| told.take(&entry))?;
        told.report(&*self.desk, held, made, gaps)
    }
}

/// What the journal tells, entry by entry.
struct Told<'e> {
    exposed: &'e Exposed,
    between: Between,
    existed: Existed,
    replaced: Vec<Time>,
    journal_only: bool,
    openings: Vec<Opening>,
    /// By their tags.
    subjects: BTreeMap<[u8; 16], ExposedSubject>,
    erased_before: u64,
}

impl<'e> Told<'e> {
    fn new(exposed: &'e Exposed, between: Between) -> Self {
        Self {
            exposed,
            between,
            existed: Existed::default(),
            replaced: Vec::new(),
            journal_only: false,
            openings: Vec::new(),
            subjects: BTreeMap::new(),
            erased_before: 0,
        }
    }

    fn take(&mut self, entry: &AuditEntry) {
        // What was announced and not confirmed may have been stored all the same.
        if entry.outcome != Outcome::Done {
            return;
        }
        match self.exposed {
            Exposed::Slot(id) => self.take_slot(*id, entry),
            Exposed::MasterKey(number) => self.take_master(*number, entry),
            Exposed::PatientKey(..) => {}
        }
        let only = self.exposed.subject();
        let is_over = self.between.until.is_some_and(|end| end <= entry.at);
        if !is_over && only.is_none_or(|subject| entry.is_about(subject)) {
            self.take_subject(entry);
        }
    }

    fn take_slot(&mut self, id: u16, entry: &AuditEntry) {
        let note = entry.note.as_deref().unwrap_or_default();
        if !names_number(note, "slot ", &id.to_string()) {
            return;
        }
        match entry.operation {
            Operation::AddSlot => {
                self.existed.since = Some(entry.at);
                self.existed.until = None;
                self.journal_only = note.starts_with("for an auditor");
            }
            Operation::ReplaceSlot => self.replaced.push(entry.at),
            // A root key that is rotated without it leaves it behind like a removal.
            Operation::RemoveSlot | Operation::RotateRoot => self.existed.until = Some(entry.at),
            Operation::Open if self.between.contains(entry.at) => self.open(entry),
            Operation::ReadJournal if note.starts_with(auditor::OPENED) => {
                self.journal_only = true;
                if self.between.contains(entry.at) {
                    self.open(entry);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, entry: &AuditEntry) {
        self.openings.push(Opening {
            at: entry.at,
            actor: entry.actor.clone(),
        });
    }

    fn take_master(&mut self, number: u32, entry: &AuditEntry) {
        let note = entry.note.as_deref().unwrap_or_default();
        let names = names_number(note, "key ", &number.to_string());
        if names && entry.operation == Operation::RetireMaster {
            self.existed.until = Some(entry.at);
        }
    }

    fn take_subject(&mut self, entry: &AuditEntry) {
        let (Some(mark), true) = (&entry.subject, is_change(entry)) else {
            return;
        };
        if entry.operation == Operation::Erase {
            if entry.settled {
                self.erase(mark, entry.at);
            }
            return;
        }
        let new = || ExposedSubject::new(mark.clone(), Some(entry.at));
        let subject = self.subjects.entry(mark.tag.0).or_insert_with(new);
        match entry.operation {
            Operation::Put | Operation::Remove => {
                subject.versions += 1;
                subject.records += u64::from(entry.version == Some(1));
            }
            Operation::Expunge => subject.expunged += 1,
            _ => {}
        }
    }

    /// Before the window, an erasure takes a subject out of reach. Later, a copy may have been taken.
    fn erase(&mut self, mark: &SubjectMark, at: Time) {
        if self.between.from.is_some_and(|from| at < from) {
            self.erased_before += u64::from(self.subjects.remove(&mark.tag.0).is_some());
        } else if let Some(subject) = self.subjects.get_mut(&mark.tag.0) {
            subject.erased.get_or_insert(at);
        }
    }

    fn report(
        mut self,
        desk: &dyn Desk,
        held: Option<Vec<Known>>,
        made: Time,
        gaps: Gaps,
    ) -> Result<ExposureReport> {
        if let Some(since) = desk.lifetime(self.exposed)? {
            self.existed.since = Some(since);
        }
        let not_in_the_journal = self.add_held(held.unwrap_or_default());
        let reach = self.reach();
        if !matches!(reach, Reach::AllSubjects | Reach::OneSubject) {
            self.subjects.clear();
        }
        let subjects: Vec<_> = self.subjects.into_values().collect();
        Ok(ExposureReport {
            exposed: self.exposed.to_string(),
            between: self.between,
            made,
            existed: self.existed,
            reach,
            replaced: self.replaced,
            openings: self.openings,
            records: subjects.iter().map(|subject| subject.records).sum(),
            versions: subjects.iter().map(|subject| subject.versions).sum(),
            subjects,
            erased_before: self.erased_before,
            not_in_the_journal,
            gaps,
            unknown: UNKNOWN.to_vec(),
        })
    }

    /// Subjects with a chart of before the window's end that the journal does not tell of.
    fn add_held(&mut self, held: Vec<Known>) -> u64 {
        let mut added = 0;
        let only = self.exposed.subject().cloned();
        for known in held {
            let Some(created) = known.created else {
                continue;
            };
            let was_there = self.between.until.is_none_or(|until| created < until);
            let is_meant = only.as_ref().is_none_or(|only| *only == known.subject);
            if !was_there || !is_meant || self.subjects.contains_key(&known.tag) {
                continue;
            }
            let mark = names::mark(&known.subject, known.tag);
            let subject = ExposedSubject::new(mark, Some(created));
            self.subjects.insert(known.tag, subject);
            added += 1;
        }
        added
    }

    fn reach(&self) -> Reach {
        let Existed { since, until } = self.existed;
        let came_after = |since: Time| self.between.until.is_some_and(|end| end <= since);
        let gone_before = |until: Time| self.between.from.is_some_and(|from| until < from);
        match self.exposed {
            _ if since.is_some_and(came_after) || until.is_some_and(gone_before) => Reach::Nothing,
            Exposed::PatientKey(..) => Reach::OneSubject,
            Exposed::Slot(_) if self.journal_only => Reach::JournalOnly,
            Exposed::Slot(_) | Exposed::MasterKey(_) => Reach::AllSubjects,
        }
    }
}

impl ExposedSubject {
    fn new(subject: SubjectMark, since: Option<Time>) -> Self {
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
    fn subject(&self) -> Option<&Subject> {
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

/// Whether an entry tells that something of a subject was stored, erased or expunged.
fn is_change(entry: &AuditEntry) -> bool {
    entry.digest.is_some() || entry.operation == Operation::Expunge
}

/// Whether a note names a number after `what`, in a list or alone: `without slot 3, 17`.
fn names_number(note: &str, what: &str, number: &str) -> bool {
    let list = note.split_once(what).map(|(_, list)| list);
    list.is_some_and(|list| list.split(", ").any(|each| each == number))
}

impl fmt::Debug for ExposureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ExposureReport({:?}, {} subjects, ..)",
            self.reach,
            self.subjects.len()
        )
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opening({}, ..)", self.at)
    }
}

impl fmt::Debug for ExposedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExposedSubject({} records, ..)", self.records)
    }
}
