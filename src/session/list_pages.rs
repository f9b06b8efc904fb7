//! Session methods on pages of lists: records of a subject, versions of a record, and counts.

use crate::error::{Error, Result};
use crate::id::{RecordId, Subject};
use crate::journal::Operation;
use crate::records::list_page::ListPage;
use crate::records::list_query::{HistoryQuery, ListQuery};
use crate::records::record_count::RecordCount;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::session::handle::HandleGuard;

impl Session {
    /// Returns one page of the current records of a subject; see [`ListQuery`] for orders, filters and
    /// costs. The page is empty for an unknown subject.
    ///
    /// All pages of a query together contain exactly once each record that the query selects throughout.
    /// In the order by name, a record that cannot be read for a moment can be missing. Records that are put, retracted or expunged between two pages may or may not be
    /// included.
    ///
    /// Like [`Session::list`], a page asks the policy about the list of the subject, not about single
    /// records. A denial that is answered as absence looks like an unknown subject. Each page
    /// writes one journal entry, and one for each record that does not open.
    ///
    /// ```
    /// # use chartlock::{*, lists::ListQuery};
    /// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    /// # let patient = Subject::patient("MRN-1042")?;
    /// # for n in 0..5 { session.put(&RecordId::patient("MRN-1042", &format!("Observation/{n}"))?, b"{}")?; }
    /// let (mut query, mut names) = (ListQuery::new().limit(2), Vec::new());
    /// loop {
    ///     let page = session.list_page(&patient, &query)?;
    ///     for record in page.items() {
    ///         names.push(record.clone()?.name().to_owned());
    ///     }
    ///     let Some(next) = page.next_cursor() else { break };
    ///     query = query.after(next);
    /// }
    /// assert_eq!(names.len(), 5);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidCursor`] when the cursor belongs to another query, subject or vault, or was
    ///   altered. Also for any cursor when the subject is unknown.
    /// - In order of names, the error of the record at the cursor, when that record no longer opens.
    /// - [`Error::Erased`] when the subject was erased, [`Error::Denied`] when the policy denies the
    ///   list, [`Error::Journal`], [`Error::Locked`], and errors of the storage.
    pub fn list_page(&self, subject: &Subject, query: &ListQuery) -> Result<ListPage> {
        let on = AuditTarget::Subject(subject);
        let page = self.released_page(Operation::List, on, || self.vault.list_page(subject, query));
        page_or_absence(page?, query.after.is_some())
    }

    /// Returns one page of the metadata of a record's versions, including retractions. The page is
    /// empty if the record does not exist. All pages of a query together contain each version once.
    ///
    /// # Errors
    /// - [`Error::InvalidCursor`] when the cursor belongs to another query, record or vault, or was
    ///   altered. Also for any cursor when the record does not exist.
    /// - [`Error::HistoryGap`] when a version of this page is missing; otherwise the errors of
    ///   [`Session::get`].
    pub fn history_page(&self, id: &RecordId, query: &HistoryQuery) -> Result<ListPage> {
        let on = AuditTarget::Record(id);
        let page = self.released_page(Operation::History, on, || {
            self.vault.history_page(id, query)
        });
        page_or_absence(page?, query.after.is_some())
    }

    /// Counts the records of a subject. All numbers are 0 for an unknown subject.
    ///
    /// The vault stores no record count, because each write would have to update it. A
    /// count scans the first 96 bytes of each record, 1,024 records in one storage call, and checks
    /// that they are authentic. It opens no content, so it does not find damage in the rest of a record.
    ///
    /// # Errors
    /// [`Error::Erased`] when the subject was erased, [`Error::Denied`] when the policy denies the
    /// list, [`Error::Journal`], [`Error::Locked`], and errors of the storage.
    pub fn count_records(&self, subject: &Subject) -> Result<RecordCount> {
        let on = AuditTarget::Subject(subject);
        let count = self.audited_read(Operation::List, on, || self.vault.count_records(subject));
        let Some((count, permission)) = count? else {
            return Ok(RecordCount::default());
        };
        // As for a page by name, the pass takes long.
        HandleGuard::new(self, on, permission).check()?;
        Ok(count)
    }

    /// Reads a page, and releases it once the read is journaled and still permitted. Journals each
    /// record that did not open.
    fn released_page(
        &self,
        operation: Operation,
        on: AuditTarget<'_>,
        read: impl FnOnce() -> Result<Option<ListPage>>,
    ) -> Result<Option<ListPage>> {
        let Some((page, permission)) = self.audited_read(operation, on, read)? else {
            return Ok(None);
        };
        // A pass over a large chart takes seconds, in which the vault can be locked or the policy
        // changed.
        let guard = HandleGuard::new(self, on, permission);
        guard.check()?;
        for error in page.items().iter().filter_map(|item| item.as_ref().err()) {
            self.failed(&guard.act(), on, error);
        }
        Ok(Some(page))
    }
}

/// Returns the page, or the answer for an absent subject or record. A denial that is answered as absence
/// gets the same answer, so that a cursor does not distinguish the two.
fn page_or_absence(page: Option<ListPage>, has_cursor: bool) -> Result<ListPage> {
    match page {
        None if has_cursor => Err(Error::InvalidCursor),
        page => Ok(page.unwrap_or_default()),
    }
}
