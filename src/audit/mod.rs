//! Reports from the journal: who did what to whom, when and why, and the evidence for it.
//!
//! The journal holds no identifier and no record. Whoever may read it resolves the identifiers that
//! they ask about: an [`AuditTrail`] knows those that it was told, and tells the others by their tags.
//! Reading the journal leaves an entry too, before anything is handed out.
//!
//! Promises: what cannot be read is named, never passed over; a report says what it cannot know.
//! May not know: record content, or how the journal is written.

mod accesses;
mod activity;
mod auditor;
mod checkpoint_anchor;
pub(crate) mod disclosures;
mod display;
mod entry;
mod entry_stage;
mod evidence;
pub(crate) mod exposure;
mod exposure_scope;
#[cfg(feature = "json")]
pub mod fhir;
mod hex;
pub(crate) mod journal_source;
mod resolve;
mod sealing;
pub(crate) mod time;
mod unreadable;
mod walk;

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::id::{RecordId, Subject};
pub use crate::journal::AccessKind;
pub use accesses::{Access, AccessDay, AccessReport};
pub use activity::{ActivityReport, SubjectActivity};
pub use auditor::Auditor;
pub use disclosures::{Disclosure, DisclosureReport, ExcludedCounts};
pub use entry::{AuditEntry, EntryPosition, RecordMark, SubjectMark};
pub use evidence::{Confirmation, SealEvidence};
pub use exposure::{
    Exposed, ExposedSubject, ExposureReport, ExposureScope, KeyLifetime, VaultOpening,
};
pub use hex::Hex;
use journal_source::JournalSource;
use resolve::Names;
pub use sealing::{Sealing, SealingCheck};
pub use time::{TimeRange, Timestamp};
pub use unreadable::UnreadableParts;
pub use walk::{AuditEntries, AuditFault, AuditItem, FaultKind};

/// The journal, to be asked. From [`Session::audit`](crate::Session::audit) or [`Auditor::trail`].
///
/// Each question reads the whole journal, for clocks may have been wrong; a few pages of it are held at
/// a time.
///
/// ```
/// # use chartlock::audit::AuditTrail;
/// # use chartlock::Subject;
/// # fn show(trail: &AuditTrail) -> Result<(), chartlock::Error> {
/// let report = trail.accesses(&Subject::patient("MRN-1042")?, ..)?;
/// for access in &report.accesses {
///     println!("{}: {} {}, for {}", access.at, access.actor, access.what, access.why);
/// }
/// # Ok(())
/// # }
/// ```
pub struct AuditTrail {
    source: Arc<dyn JournalSource>,
    names: Names,
}

impl AuditTrail {
    pub(crate) fn new(source: Arc<dyn JournalSource>) -> Self {
        Self {
            source,
            names: Names::default(),
        }
    }

    /// With one more subject whose identifier is told where the journal tells of it.
    #[must_use]
    pub fn resolve_subject(mut self, subject: &Subject) -> Self {
        self.names.subjects.insert(subject.clone());
        self
    }

    /// With one more record whose name and subject are told.
    #[must_use]
    pub fn resolve_record(mut self, id: &RecordId) -> Self {
        self.names.records.insert(id.name().into());
        self.resolve_subject(id.subject())
    }

    /// With all subjects of the vault, erased ones too. Of an auditor's slot, who cannot know them,
    /// nothing is added.
    ///
    /// # Errors
    /// Those of [`AuditTrail::entries`].
    pub fn resolve_all(mut self) -> Result<Self> {
        self.ask(None, "identifiers of all subjects")?;
        let known = self.source.subjects()?.into_iter().flatten();
        self.names.subjects.extend(known.map(|known| known.subject));
        Ok(self)
    }

    /// All entries of a window, in the order of time, and what is wrong with the journal's pages.
    ///
    /// # Errors
    /// [`Error::Journal`](crate::Error::Journal) when it cannot be noted that the journal is read;
    /// [`Error::Locked`](crate::Error::Locked); errors of the storage.
    pub fn entries(&self, between: impl Into<TimeRange>) -> Result<AuditEntries> {
        self.ask(None, "all entries")?;
        self.walk(self.names.clone(), between.into())
    }

    /// Takes note of a question, before anything is looked at for it.
    fn ask(&self, subject: Option<&Subject>, question: &str) -> Result<()> {
        self.source.check()?;
        self.source.note(subject, question)
    }

    fn walk(&self, names: Names, between: TimeRange) -> Result<AuditEntries> {
        AuditEntries::new(Arc::clone(&self.source), names, between)
    }

    /// What is known, with a subject and the names of its records.
    fn names_with(&self, subject: &Subject) -> Result<Names> {
        let mut names = self.names.clone();
        names.records.extend(self.source.record_names(subject)?);
        names.subjects.insert(subject.clone());
        Ok(names)
    }
}

impl fmt::Debug for AuditTrail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditTrail(..)")
    }
}
