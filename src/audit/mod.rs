//! Reports from the journal: who did what to which subject, when and why, with evidence.
//!
//! The journal contains neither identifiers nor records, only tags. An [`AuditTrail`] resolves the
//! tags of the subjects and records that the caller adds, and shows all other tags unresolved. Each
//! query is journaled before the trail returns any entry.
//!
//! Guarantees: reports list every journal page that could not be read, and state what they cannot
//! show.
//! Must not know: record content, or how the journal is written.

mod accesses;
mod activity;
mod archived_pages;
mod auditor;
mod authority;
mod chain_entries;
mod checkpoint_anchor;
mod cursor;
mod cut_chains;
pub(crate) mod disclosures;
mod display;
mod entry;
mod entry_stage;
mod evidence;
pub(crate) mod exposure;
mod exposure_scope;
mod fault;
#[cfg(feature = "json")]
pub mod fhir;
mod hex;
pub(crate) mod journal_source;
mod resolve;
mod sealing;
mod source_with_archive;
mod target_fields;
pub(crate) mod time;
mod unreadable;
mod walk;
mod window;

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::id::{RecordId, Subject};
pub use crate::journal::AccessKind;
use crate::journal::Operation;
use crate::storage::Storage;
use crate::telemetry;
pub use accesses::{Access, AccessDay, AccessReport};
pub use activity::{ActivityReport, SubjectActivity};
pub use auditor::Auditor;
pub use authority::PageAuthority;
pub use cursor::AuditCursor;
pub use disclosures::{Disclosure, DisclosureReport, ExcludedCounts};
pub use entry::{AuditEntry, EntryPosition, RecordMark, RetentionMark, SlotMark, SubjectMark};
pub use evidence::{Confirmation, SealEvidence};
pub use exposure::{
    Exposed, ExposedSubject, ExposureReport, ExposureScope, KeyLifetime, VaultOpening,
};
pub use fault::{AuditFault, FaultKind};
pub use hex::Hex;
use journal_source::JournalSource;
use resolve::Names;
pub use sealing::{Sealing, SealingCheck};
use source_with_archive::SourceWithArchive;
pub use time::{TimeRange, Timestamp};
pub use unreadable::UnreadableParts;
pub use walk::{AuditEntries, AuditItem};

/// Read access to the journal, for entries and reports. [`Session::audit`](crate::Session::audit)
/// and [`Auditor::trail`] return a trail.
///
/// A query without a time range reads the whole journal. A query with a time range reads only the
/// journal chains that can contain entries of the range. A dated chain covers at most a day, and its
/// name contains the start. Each query also reads all undated chains, which can have entries of any time. The trail keeps only a few pages in memory.
///
/// A query with a time range reports only the faults of the pages that it reads. It reports a removed
/// chain of the range if another chain saw that chain and began in the range or within a day after it.
/// A query without a time range and [`Vault::verify`](crate::Vault::verify) report all faults.
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

    /// Reads archived journal pages from `archive` too, a storage that
    /// [`Session::archive_journal`](crate::Session::archive_journal) filled.
    ///
    /// If several storages were filled, add each of them with a call. Reports list each archived chain of
    /// their time range that no storage has to its end, as [`FaultKind::Archived`].
    #[must_use]
    pub fn with_archive(self, archive: Arc<dyn Storage>) -> Self {
        let source = SourceWithArchive::new(self.source, archive);
        Self {
            source: Arc::new(source),
            ..self
        }
    }

    /// Adds a subject to resolve: reports then show the subject's identifier instead of its tag.
    #[must_use]
    pub fn resolve_subject(mut self, subject: &Subject) -> Self {
        self.names.subjects.insert(subject.clone());
        self
    }

    /// Adds a record to resolve: reports then show the names of the record and its subject instead
    /// of tags.
    #[must_use]
    pub fn resolve_record(mut self, id: &RecordId) -> Self {
        self.names.records.insert(id.name().into());
        self.resolve_subject(id.subject())
    }

    /// Adds all subjects of the vault to resolve, erased subjects included.
    ///
    /// For an auditor's trail, this adds nothing, because an auditor cannot list the vault's
    /// subjects.
    ///
    /// # Errors
    /// The errors of [`AuditTrail::entries`].
    pub fn resolve_all(mut self) -> Result<Self> {
        self.ask(None, "identifiers of all subjects")?;
        let known = self.source.subjects()?.into_iter().flatten();
        self.names.subjects.extend(known.map(|known| known.subject));
        Ok(self)
    }

    /// Returns all entries of a time range in time order, together with the faults of the journal's
    /// pages.
    ///
    /// # Errors
    /// [`Error::Journal`](crate::Error::Journal) if the query cannot be journaled;
    /// [`Error::Locked`](crate::Error::Locked) if the vault is locked; errors of the storage.
    pub fn entries(&self, between: impl Into<TimeRange>) -> Result<AuditEntries> {
        self.ask(None, "all entries")?;
        self.walk(self.names.clone(), between.into())
    }

    /// Returns the entries of a time range about one subject in time order, together with the faults of
    /// the journal's pages. Unlike [`AuditTrail::accesses`], this method needs little memory, and an app
    /// can show the entries in pages: see [`AuditCursor`]. Names of the subject's records are resolved as
    /// in [`AuditTrail::accesses`].
    ///
    /// # Errors
    /// The errors of [`AuditTrail::entries`].
    pub fn entries_about(
        &self,
        subject: &Subject,
        between: impl Into<TimeRange>,
    ) -> Result<AuditEntries> {
        self.ask(Some(subject), "entries about a subject")?;
        let (names, _) = self.names_with(subject)?;
        let entries = self.walk_about(subject, names, between.into())?;
        Ok(entries.only(subject))
    }

    /// Journals a query. The caller must journal a query before reading any entry for the answer.
    fn ask(&self, subject: Option<&Subject>, question: &str) -> Result<()> {
        telemetry::verb(Operation::ReadJournal.name(), || {
            self.source.check()?;
            self.source.note(subject, question)?;
            self.source.renew_keys()
        })
    }

    fn walk(&self, names: Names, between: TimeRange) -> Result<AuditEntries> {
        AuditEntries::new(Arc::clone(&self.source), &names, between, None)
    }

    /// Returns the entries of the pages that may be about a subject, together with the faults of all
    /// pages.
    fn walk_about(
        &self,
        subject: &Subject,
        names: Names,
        between: TimeRange,
    ) -> Result<AuditEntries> {
        AuditEntries::new(Arc::clone(&self.source), &names, between, Some(subject))
    }

    /// Returns the names to resolve, with `subject` and the names of its records added, and the
    /// number of its records whose names cannot be read.
    fn names_with(&self, subject: &Subject) -> Result<(Names, u64)> {
        let mut names = self.names.clone();
        let known = self.source.record_names(subject)?;
        names.records.extend(known.names);
        names.subjects.insert(subject.clone());
        Ok((names, known.unreadable))
    }
}

impl fmt::Debug for AuditTrail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditTrail(..)")
    }
}
