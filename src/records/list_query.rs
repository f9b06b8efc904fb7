//! Queries for one page of a list of records or of a history.

use std::fmt;
use std::time::SystemTime;

use crate::records::document::RecordInfo;
use crate::records::list_cursor::ListCursor;
use crate::vault::clock;

/// Maximum number of items of a page.
const LIMIT_MAX: usize = 1000;
/// Number of items of a page if the query sets no limit.
const LIMIT_DEFAULT: usize = 100;

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListOrder {
    Stored,
    Names,
}

/// Query for one page of a subject's records, for
/// [`Session::list_page`](crate::Session::list_page).
///
/// Without further settings, the page has up to 100 current records in **stored order**: the order of
/// their storage keys, which is fixed for each record, differs between charts and reveals nothing about
/// names. A page in stored order costs the same at any place in the list: one read of the patient entry,
/// and one scan, or one for every few MiB of sealed records. The last page reads the entry once more.
/// Retracted records are scanned too.
///
/// No order by name, no prefix and no time is stored, because each would reveal something about the
/// records. Their costs are therefore:
///
/// | setting | cost of a page | cost of all pages together |
/// |---|---|---|
/// | none | proportional to the limit | one pass over the chart |
/// | [`name_prefix`](Self::name_prefix), [`changed_since`](Self::changed_since) | until enough records match, at most one pass | at most three passes |
/// | [`by_name`](Self::by_name), also with these settings | one pass | one pass for each page |
///
/// A pass opens every current record of the chart. The memory of a query is bounded: it holds one scan
/// page of at most 1,024 records, and the metadata of at most `limit` + 1 records.
///
/// ```
/// # use chartlock::{*, lists::ListQuery};
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # for name in ["Observation/bp", "Observation/hr", "Patient/1"] {
/// #     session.put(&RecordId::patient("MRN-1042", name)?, b"{}")?;
/// # }
/// let query = ListQuery::new().by_name().name_prefix("Observation/").limit(20);
/// let page = session.list_page(&Subject::patient("MRN-1042")?, &query)?;
/// let names = page.into_iter().map(|record| record.map(|it| it.name().to_owned()));
/// assert_eq!(names.collect::<Result<Vec<_>, _>>()?, ["Observation/bp", "Observation/hr"]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ListQuery {
    pub(super) limit: usize,
    pub(crate) after: Option<ListCursor>,
    pub(super) order: ListOrder,
    name_prefix: Box<str>,
    /// Earliest time of writing, in milliseconds since 1970.
    changed_since: Option<i64>,
    with_retracted: bool,
}

impl ListQuery {
    /// Returns a query for the first page in stored order, with up to 100 records.
    pub fn new() -> Self {
        Self {
            limit: LIMIT_DEFAULT,
            after: None,
            order: ListOrder::Stored,
            name_prefix: "".into(),
            changed_since: None,
            with_retracted: false,
        }
    }

    /// Sets the maximum number of records of the page, from 1 to 1,000. A value out of this range counts
    /// as the nearest value in it.
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = records.clamp(1, LIMIT_MAX);
        self
    }

    /// Continues after a page. All other settings except the limit must be those of the query of that
    /// page.
    pub fn after(mut self, cursor: &ListCursor) -> Self {
        self.after = Some(cursor.clone());
        self
    }

    /// Orders the records by the bytes of their names. Records that do not open have no known name, and
    /// come last. Each page costs one pass over the chart.
    pub fn by_name(mut self) -> Self {
        self.order = ListOrder::Names;
        self
    }

    /// Selects the records whose names begin with `prefix`. A record that does not open is always
    /// selected, because its name is unknown.
    pub fn name_prefix(mut self, prefix: &str) -> Self {
        self.name_prefix = prefix.into();
        self
    }

    /// Selects the records whose current version was written at `time` or later, by the clock of its
    /// writer. A record that does not open is always selected.
    ///
    /// A writer takes the time before it commits, and clocks of writers differ. So a client that asks
    /// repeatedly must choose a `time` some minutes before its last query. To learn of retractions too,
    /// use [`ListQuery::with_retracted`].
    pub fn changed_since(mut self, time: SystemTime) -> Self {
        let bound = match time < SystemTime::UNIX_EPOCH {
            true => i64::MIN,
            false => i64::MAX,
        };
        self.changed_since = Some(clock::millis(time).unwrap_or(bound));
        self
    }

    /// Selects retracted and expunged records too; see
    /// [`RecordInfo::is_retraction`](crate::RecordInfo::is_retraction).
    pub fn with_retracted(mut self) -> Self {
        self.with_retracted = true;
        self
    }

    /// Returns `true` if the query selects this current version.
    pub(super) fn selects(&self, info: &RecordInfo) -> bool {
        (self.with_retracted || !info.is_retraction())
            && info.name().starts_with(&*self.name_prefix)
            && (self.changed_since).is_none_or(|since| info.meta.written_at >= since)
    }

    /// Returns an unambiguous encoding of all settings that a cursor is bound to. The variable-length
    /// field is last.
    pub(super) fn encoding(&self) -> Vec<u8> {
        let order = match self.order {
            ListOrder::Stored => b's',
            ListOrder::Names => b'n',
        };
        let flags = [
            order,
            u8::from(self.with_retracted),
            u8::from(self.changed_since.is_some()),
        ];
        let since = self.changed_since.unwrap_or_default().to_le_bytes();
        [&flags[..], &since, self.name_prefix.as_bytes()].concat()
    }
}

impl fmt::Debug for ListQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Omit the prefix, because it is part of record names.
        write!(f, "ListQuery({:?}, limit {}, ..)", self.order, self.limit)
    }
}

impl Default for ListQuery {
    fn default() -> Self {
        Self::new()
    }
}

/// Query for one page of a record's versions, for
/// [`Session::history_page`](crate::Session::history_page).
///
/// A page costs the same at any place in the history: the reads of [`Session::get`](crate::Session::get),
/// and one read for every 64 versions.
///
/// ```
/// # use chartlock::{*, lists::HistoryQuery};
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let id = RecordId::patient("MRN-1042", "AllergyIntolerance/1")?;
/// for _ in 0..5 {
///     session.put(&id, b"{}")?;
/// }
/// let page = session.history_page(&id, &HistoryQuery::new().newest_first().limit(2))?;
/// let versions = page.into_iter().map(|version| version.map(|it| it.version()));
/// assert_eq!(versions.collect::<Result<Vec<_>, _>>()?, [5, 4]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct HistoryQuery {
    pub(super) limit: u64,
    pub(crate) after: Option<ListCursor>,
    pub(super) newest_first: bool,
}

impl HistoryQuery {
    /// Returns a query for the first page in ascending order of version numbers, with up to 100
    /// versions.
    pub fn new() -> Self {
        Self {
            limit: LIMIT_DEFAULT as u64,
            after: None,
            newest_first: false,
        }
    }

    /// Sets the maximum number of versions of the page, from 1 to 1,000. Values out of this range
    /// are clamped.
    pub fn limit(mut self, versions: usize) -> Self {
        self.limit = versions.clamp(1, LIMIT_MAX) as u64;
        self
    }

    /// Continues after a page of a query with the same order.
    pub fn after(mut self, cursor: &ListCursor) -> Self {
        self.after = Some(cursor.clone());
        self
    }

    /// Orders the versions from the newest to the oldest.
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// Returns an unambiguous encoding of the settings and the record that a cursor is bound to. No
    /// [`ListQuery::encoding`] begins with the same byte.
    pub(super) fn encoding(&self, record: &[u8; 16]) -> Vec<u8> {
        [&[b'h', u8::from(self.newest_first)], &record[..]].concat()
    }
}

impl Default for HistoryQuery {
    fn default() -> Self {
        Self::new()
    }
}
