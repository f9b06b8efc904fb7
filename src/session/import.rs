//! Import of records from another system, in batches, with an outcome for each record.

use std::fmt;
use std::io;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result, StorageError};
use crate::id::RecordId;
use crate::journal::{AccessOutcome, Act, Operation};
use crate::records::document::{Document, DocumentContent, Precondition};
use crate::records::write::WriteJob;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::telemetry;
use crate::vault::progress::{Counter, Phase};

/// Maximum number of records in a batch. A larger batch would need another storage call.
const BATCH_RECORDS: usize = 1024;
/// Content size, in bytes, at which a batch ends.
const BATCH_BYTES: usize = 4 << 20;

/// Version of a record from another system, for [`Session::import`].
///
/// ```
/// # use chartlock::{Document, ImportItem, RecordId};
/// # use std::time::{Duration, UNIX_EPOCH};
/// // The primary key of the former table becomes the name, so that a second import finds the record.
/// let id = RecordId::patient("MRN-1042", "notes/4711")?;
/// let note = Document::owned(b"No known allergies.".to_vec())
///     .original_time(UNIX_EPOCH + Duration::from_secs(1_400_000_000))
///     .original_author("dr.garcia");
/// let first = ImportItem::new(id.clone(), note);
/// let second = ImportItem::new(id, Document::owned(b"Penicillin.".to_vec())).version(2);
/// # let _ = (first, second);
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone)]
pub struct ImportItem {
    id: RecordId,
    document: Document<'static>,
    version: u64,
}

impl ImportItem {
    /// Creates an item that becomes version 1 of a record. Derive the name from the id that the record has in
    /// the other system, so that a repeated import recognizes the record.
    pub fn new(id: RecordId, document: impl Into<Document<'static>>) -> Self {
        Self {
            id,
            document: document.into(),
            version: 1,
        }
    }

    /// Sets the number of the version that the item becomes, from 1. Pass the versions of a record in ascending
    /// order.
    #[must_use]
    pub fn version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// Returns the id of the record.
    pub fn id(&self) -> &RecordId {
        &self.id
    }
}

impl fmt::Debug for ImportItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImportItem(version {}, ..)", self.version)
    }
}

/// Outcome of one item of an import.
///
/// ```
/// # use chartlock::{Error, ImportOutcome};
/// assert_ne!(ImportOutcome::Stored, ImportOutcome::Failed(Error::Denied));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportOutcome {
    /// The version is durable.
    Stored,
    /// An earlier import stored this version with the same content, media type, labels, honeytoken mark, original time
    /// and original author, so nothing was written. Or the version was expunged since.
    AlreadyStored,
    /// The version was not stored: the errors of [`Session::put`], which also say after which errors the outcome is
    /// unknown; then repeat the import with the same item. [`Error::Conflict`] if this version differs or another
    /// program wrote it, or if the version before it is missing or was not imported: the app has changed or
    /// retracted the record since.
    Failed(Error),
}

/// Counts of an import.
///
/// ```
/// # use chartlock::{*, report::ImportReport};
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("migration")?, Purpose::Operations);
/// let nothing: [Result<ImportItem, std::io::Error>; 0] = [];
/// let report = session.import(nothing, |_, _| ())?;
/// assert_eq!(report, ImportReport::default());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Number of versions that this call stored.
    pub stored: u64,
    /// Number of versions that were stored before.
    pub already_stored: u64,
    /// Number of versions that were not stored.
    pub failed: u64,
}

impl ImportReport {
    fn count(&mut self, outcome: &ImportOutcome) {
        *match outcome {
            ImportOutcome::Stored => &mut self.stored,
            ImportOutcome::AlreadyStored => &mut self.already_stored,
            ImportOutcome::Failed(_) => &mut self.failed,
        } += 1;
    }
}

/// A permitted put, or the error of an item.
type Planned<'a> = Result<(Act, WriteJob<'a>)>;

impl Session {
    /// Imports records from another system, such as the former database of the app, with their original times
    /// and authors; see [`Document::original_time`] and [`Document::original_author`].
    ///
    /// The import takes items from the iterator and writes them in batches. A batch ends after 1,024 items, or with the
    /// item that brings its content to 4 MiB, so memory is bounded for any import. After each batch, `each` receives
    /// the items of the batch in their order, with their outcomes. The operation reports its progress with
    /// [`Phase::Importing`](crate::progress::Phase::Importing).
    ///
    /// To continue an interrupted import, repeat it with the same items. Versions that are already stored are not
    /// written again. Records that were changed, retracted or expunged since stay as they are, and an erased subject
    /// stays erased. The journal records each put under the actor of the session, also for items that were already
    /// stored.
    ///
    /// The iterator should yield an error only if it cannot continue. Report and skip a row that is not valid, such as
    /// one without an identifier; otherwise it ends each attempt at the same place. An actor who may put a record can learn
    /// from the outcomes whether an earlier import stored exactly this content.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let session = vault.session(Actor::new("migration")?, Purpose::Operations);
    /// let rows = [("MRN-1042", 4711, "No known allergies."), ("MRN-1043", 4712, "Penicillin.")];
    /// let items = rows.into_iter().map(|(patient, number, text)| {
    ///     let id = RecordId::patient(patient, &format!("notes/{number}"))?;
    ///     Ok::<_, Error>(ImportItem::new(id, Document::owned(text)))
    /// });
    /// let report = session.import(items, |item, outcome| println!("{item:?}: {outcome:?}"))?;
    /// assert_eq!((report.stored, report.failed), (2, 0));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// An error of one item is its outcome, and the import continues. It ends with these errors, after the outcomes
    /// of the batch:
    /// - [`Error::Source`] when the iterator yields an error. The items before it are written first.
    /// - [`Error::Cancelled`].
    /// - The first outcome that would fail for every item: a locked or read-only vault, a damaged or rolled-back
    ///   header, a journal or storage that is full, fails or refuses access, and [`Error::CommitUnknown`].
    pub fn import<E>(
        &self,
        items: impl IntoIterator<Item = std::result::Result<ImportItem, E>>,
        mut each: impl FnMut(&ImportItem, &ImportOutcome),
    ) -> Result<ImportReport> {
        telemetry::verb(Operation::Put.name(), || {
            let mut report = ImportReport::default();
            let mut counter = Counter::new(self.vault.monitor(), Phase::Importing);
            let mut items = items.into_iter();
            loop {
                let (batch, end) = next_batch(&mut items);
                let mut last = Ok(());
                for (item, outcome) in batch.iter().zip(self.import_batch(&batch)) {
                    report.count(&outcome);
                    each(item, &outcome);
                    if let ImportOutcome::Failed(error) = outcome
                        && affects_every_item(&error)
                    {
                        last = last.and(Err(error));
                    }
                }
                last?;
                counter.add(batch.len() as u64)?;
                match end {
                    Some(end) => return end.map(|()| report),
                    None => continue,
                }
            }
        })
    }

    fn import_batch(&self, batch: &[ImportItem]) -> Vec<ImportOutcome> {
        let now = self.vault.core.store.clock.now();
        let parts = batch.iter().map(|item| item.document.clone().into_parts());
        let (contents, documents): (Vec<_>, Vec<_>) = parts.unzip();
        let mut jobs = Vec::with_capacity(batch.len());
        let mut acts = Vec::with_capacity(batch.len());
        for ((item, content), document) in batch.iter().zip(&contents).zip(documents) {
            acts.push(
                self.plan_import(item, content, document, now)
                    .map(|(act, job)| {
                        jobs.push(job);
                        act
                    }),
            );
        }
        let mut written = self.vault.write(jobs).into_iter();
        let outcomes = acts.into_iter().zip(batch).map(|(act, item)| {
            let on = AuditTarget::Record(&item.id);
            let act = match act {
                Ok(act) => act,
                Err(error) => return ImportOutcome::Failed(error),
            };
            match written.next().unwrap_or(Err(Error::Contended)) {
                Ok(Some(_)) => ImportOutcome::Stored,
                Ok(None) => {
                    self.journal_deferred(&act, on, AccessOutcome::Refused);
                    ImportOutcome::AlreadyStored
                }
                Err(error) => {
                    self.failed(&act, on, &error);
                    ImportOutcome::Failed(error)
                }
            }
        });
        outcomes.collect()
    }

    /// Asks the policy for one item, and plans its write.
    fn plan_import<'a>(
        &'a self,
        item: &'a ImportItem,
        content: &'a DocumentContent<'static>,
        document: Document<'static>,
        now: i64,
    ) -> Planned<'a> {
        let act = self.permitted_to_put(&item.id, &document)?.act;
        let job = Precondition::Version(item.version).check().and_then(|()| {
            self.put_job(&act, &item.id, (content, document), Precondition::Any, now)
        });
        let job = job.inspect_err(|error| self.failed(&act, AuditTarget::Record(&item.id), error));
        Ok((act, job?.importing(item.version)))
    }
}

/// Takes the items of the next batch. The second value is the end of the import, if this batch is the last.
fn next_batch<E>(
    items: &mut impl Iterator<Item = std::result::Result<ImportItem, E>>,
) -> (Vec<ImportItem>, Option<Result<()>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
        match items.next() {
            Some(Ok(item)) => {
                bytes += item.document.content_len();
                batch.push(item);
            }
            Some(Err(_)) => return (batch, Some(Err(Error::Source(io::ErrorKind::Other)))),
            None => return (batch, Some(Ok(()))),
        }
    }
    (batch, None)
}

/// Returns `true` for an error that the following items would meet as well.
fn affects_every_item(error: &Error) -> bool {
    match error {
        // One damaged object, or one record that many processes write.
        Error::Storage(StorageError::Damaged) | Error::Contended => false,
        Error::Storage(_) | Error::Journal(_) => true,
        Error::HeaderDamaged | Error::HeaderRolledBack | Error::UnknownMasterKey => true,
        _ => matches!(
            error.kind(),
            ErrorKind::Locked
                | ErrorKind::ReadOnly
                | ErrorKind::Full
                | ErrorKind::Unavailable
                | ErrorKind::CommitUnknown
                | ErrorKind::Cancelled
                | ErrorKind::Internal
        ),
    }
}
