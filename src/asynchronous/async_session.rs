//! Async session with the operations that apps call most often.

use crate::asynchronous::operations::Operations;
use crate::asynchronous::{AsyncItems, AsyncRecordReader, AsyncRecordWriter};
use crate::error::{Error, Result};
use crate::id::{RecordId, Subject};
use crate::records::document::{Document, Precondition, Record, RecordInfo};
use crate::records::list_page::ListPage;
use crate::records::list_query::{HistoryQuery, ListQuery};
use crate::records::record_count::RecordCount;
use crate::session::Session;

/// A [`Session`] for async tasks; created by
/// [`AsyncVault::session`](crate::asynchronous::AsyncVault::session). Cloning is cheap.
///
/// Each method runs the [`Session`] method with the same name on the pool, and returns the errors of that
/// method or [`Error::NoRuntime`]. [`AsyncSession::with`] runs all other operations.
///
/// ```
/// # use chartlock::{*, asynchronous::AsyncVault};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let vault = AsyncVault::from(vault);
/// let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// let id = RecordId::patient("MRN-1042", "AllergyIntolerance/1")?;
/// let first = session.put(&id, Document::owned(vec![b'{', b'}'])).await?;
/// let conflict = session.put_if(&id, Precondition::Absent, b"[]").await;
/// assert_eq!(conflict, Err(Error::Conflict));
/// assert_eq!(session.history(&id).await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AsyncSession {
    session: Session,
    operations: Operations,
}

impl AsyncSession {
    pub(super) fn new(session: Session, operations: Operations) -> Self {
        Self {
            session,
            operations,
        }
    }

    /// Sets the id of the app's request; see [`Session::with_request_id`].
    ///
    /// # Errors
    /// The errors of [`Session::with_request_id`].
    pub fn with_request_id(self, request: &str) -> Result<Self> {
        let session = self.session.with_request_id(request)?;
        Ok(Self::new(session, self.operations))
    }

    /// Sets the organization that the actor works for; see [`Session::on_behalf_of`].
    ///
    /// # Errors
    /// The errors of [`Session::on_behalf_of`].
    pub fn on_behalf_of(self, organization: &str) -> Result<Self> {
        let session = self.session.on_behalf_of(organization)?;
        Ok(Self::new(session, self.operations))
    }

    /// Returns the blocking session, for its settings and for threads that may block.
    pub fn blocking(&self) -> &Session {
        &self.session
    }

    /// Runs an operation of the blocking session on the pool.
    ///
    /// # Errors
    /// The errors of `operation`, and [`Error::NoRuntime`].
    pub async fn with<T, E>(
        &self,
        operation: impl FnOnce(&Session) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let session = self.session.clone();
        self.operations.run(move || operation(&session)).await
    }

    /// Writes the next version of a record; see [`Session::put`]. Content in
    /// [`Document::owned`] is not copied.
    ///
    /// # Errors
    /// The errors of [`Session::put`], and [`Error::NoRuntime`].
    pub async fn put(&self, id: &RecordId, document: impl Into<Document<'static>>) -> Result<u64> {
        self.put_if(id, Precondition::Any, document).await
    }

    /// Writes the next version if the record meets a precondition; see [`Session::put_if`].
    ///
    /// # Errors
    /// The errors of [`Session::put_if`], and [`Error::NoRuntime`].
    pub async fn put_if(
        &self,
        id: &RecordId,
        expected: Precondition,
        document: impl Into<Document<'static>>,
    ) -> Result<u64> {
        let (id, document) = (id.clone(), document.into());
        self.with(move |session| session.put_if(&id, expected, document))
            .await
    }

    /// Writes many records in one commit; see [`Session::put_many`].
    ///
    /// # Errors
    /// The errors of [`Session::put_many`], and [`Error::NoRuntime`].
    pub async fn put_many(
        &self,
        records: Vec<(RecordId, Document<'static>)>,
    ) -> Result<Vec<Result<u64>>> {
        self.with(move |session| {
            let (ids, documents): (Vec<_>, Vec<_>) = records.into_iter().unzip();
            session.put_many(ids.iter().zip(documents))
        })
        .await
    }

    /// Returns the current version of a record; see [`Session::get`]. A [`Record`] converts into
    /// [`Bytes`](bytes::Bytes) without a copy.
    ///
    /// # Errors
    /// The errors of [`Session::get`], and [`Error::NoRuntime`].
    pub async fn get(&self, id: &RecordId) -> Result<Option<Record>> {
        let id = id.clone();
        self.with(move |session| session.get(&id)).await
    }

    /// Returns one version of a record; see [`Session::get_version`].
    ///
    /// # Errors
    /// The errors of [`Session::get_version`], and [`Error::NoRuntime`].
    pub async fn get_version(&self, id: &RecordId, version: u64) -> Result<Option<Record>> {
        let id = id.clone();
        self.with(move |session| session.get_version(&id, version))
            .await
    }

    /// Returns the metadata of all versions of a record; see [`Session::history`].
    ///
    /// # Errors
    /// The errors of [`Session::history`], and [`Error::NoRuntime`].
    pub async fn history(&self, id: &RecordId) -> Result<Vec<RecordInfo>> {
        let id = id.clone();
        self.with(move |session| session.history(&id)).await
    }

    /// Lists the current records of a subject; see [`Session::list`].
    ///
    /// # Errors
    /// The errors of [`Session::list`], and [`Error::NoRuntime`].
    pub async fn list(&self, subject: &Subject) -> Result<AsyncItems<RecordInfo>> {
        let subject = subject.clone();
        self.with(move |session| Ok(AsyncItems::new(session.list(&subject)?, |_| 0)))
            .await
    }

    /// Returns one page of the records of a subject; see [`Session::list_page`].
    ///
    /// # Errors
    /// The errors of [`Session::list_page`], and [`Error::NoRuntime`].
    pub async fn list_page(&self, subject: &Subject, query: &ListQuery) -> Result<ListPage> {
        let (subject, query) = (subject.clone(), query.clone());
        self.with(move |session| session.list_page(&subject, &query))
            .await
    }

    /// Returns one page of the versions of a record; see [`Session::history_page`].
    ///
    /// # Errors
    /// The errors of [`Session::history_page`], and [`Error::NoRuntime`].
    pub async fn history_page(&self, id: &RecordId, query: &HistoryQuery) -> Result<ListPage> {
        let (id, query) = (id.clone(), query.clone());
        self.with(move |session| session.history_page(&id, &query))
            .await
    }

    /// Counts the records of a subject; see [`Session::count_records`].
    ///
    /// # Errors
    /// The errors of [`Session::count_records`], and [`Error::NoRuntime`].
    pub async fn count_records(&self, subject: &Subject) -> Result<RecordCount> {
        let subject = subject.clone();
        self.with(move |session| session.count_records(&subject))
            .await
    }

    /// Returns the current records of a subject with their content; see [`Session::get_all`].
    ///
    /// Each record is journaled when the stream fetches it. So the journal can name up to 63 records that
    /// the app never takes from the stream.
    ///
    /// # Errors
    /// The errors of [`Session::get_all`], and [`Error::NoRuntime`].
    pub async fn get_all(&self, subject: &Subject) -> Result<AsyncItems<Record>> {
        let subject = subject.clone();
        self.with(move |session| {
            let records = session.get_all(&subject)?;
            Ok(AsyncItems::new(records, |record: &Record| record.len()))
        })
        .await
    }

    /// Returns the live subjects of the vault; see [`Session::subjects`].
    ///
    /// # Errors
    /// The errors of [`Session::subjects`], and [`Error::NoRuntime`].
    pub async fn subjects(&self) -> Result<AsyncItems<Subject>> {
        self.with(|session| Ok(AsyncItems::new(session.subjects()?, |_| 0)))
            .await
    }

    /// Returns a reader of the current version; see [`Session::reader`].
    ///
    /// # Errors
    /// The errors of [`Session::reader`], and [`Error::NoRuntime`].
    pub async fn reader(&self, id: &RecordId) -> Result<Option<AsyncRecordReader>> {
        let id = id.clone();
        // Convert on the pool: a blocking reader must not be dropped by a task.
        let open = move |session: &Session| Ok(session.reader(&id)?.map(AsyncRecordReader::from));
        self.with(open).await
    }

    /// Returns a reader of one version; see [`Session::reader_of_version`].
    ///
    /// # Errors
    /// The errors of [`Session::reader_of_version`], and [`Error::NoRuntime`].
    pub async fn reader_of_version(
        &self,
        id: &RecordId,
        version: u64,
    ) -> Result<Option<AsyncRecordReader>> {
        let id = id.clone();
        self.with(move |session| {
            let reader = session.reader_of_version(&id, version)?;
            Ok(reader.map(AsyncRecordReader::from))
        })
        .await
    }

    /// Returns a writer for the next version of a record. To set a content type, labels or a precondition, build an
    /// [`AsyncRecordWriter`] from a [`RecordWriter`](crate::RecordWriter).
    pub fn writer(&self, id: &RecordId) -> AsyncRecordWriter {
        self.session.writer(id).into()
    }

    /// Retracts a record; see [`Session::retract`].
    ///
    /// # Errors
    /// The errors of [`Session::retract`], and [`Error::NoRuntime`].
    pub async fn retract(&self, id: &RecordId) -> Result<Option<u64>> {
        let id = id.clone();
        self.with(move |session| session.retract(&id)).await
    }
}
