//! Cursor of a report: the place after the last returned item, from which a later call continues.
//!
//! Clients store cursors. A cursor is sealed under the journal key, so a client can neither read nor make a
//! cursor. A cursor states only the place to continue. The query that continues decides which entries it
//! returns, and is journaled.

use serde::{Deserialize, Serialize};

use crate::audit::chain_entries::ItemPlace;
use crate::audit::journal_source::{JournalSource, SourceKeys};
use crate::audit::time::{TimeRange, Timestamp};
use crate::audit::walk::AuditEntries;
use crate::crypto::{FrameKey, JournalKey, SubjectTag, cursor_key};
use crate::error::{Error, Result};
use crate::format::codec::{Body, fields};
use crate::format::storage_keys::WriterId;
use crate::vault::sealed_cursor::{CursorKey, SealedCursor, cursor_text};

/// Kind byte of a sealed cursor. No storage contains one.
const KIND: u8 = 25;

/// A place in the entries of a query, as an opaque text of about 400 characters, from
/// [`AuditEntries::cursor`].
///
/// The text reveals nothing, so an app can give a cursor to a client. A cursor continues only a query of the
/// same vault with the same subject and time range. Only a holder of the journal key, such as an auditor,
/// can make a cursor. A rotation of the journal keys makes all cursors invalid. A cursor grants no access:
/// the query that continues asks the policy, and is journaled.
///
/// A query that continues reads the chains of the day of the cursor from their beginnings.
///
/// ```
/// # use chartlock::{*, audit::AuditCursor};
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let patient = Subject::patient("MRN-1042")?;
/// # for version in 0..3 { session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?; }
/// let office = vault.session(Actor::new("privacy.office")?, Purpose::Operations);
/// let mut page = office.audit()?.entries_about(&patient, ..)?;
/// assert_eq!(page.by_ref().take(2).count(), 2);
/// let text = page.cursor()?.to_string();
///
/// // Later, perhaps in another process:
/// let cursor: AuditCursor = text.parse()?;
/// let next = office.audit()?.entries_about(&patient, ..)?.after(&cursor)?;
/// assert!(next.count() >= 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuditCursor(SealedCursor);

cursor_text!(AuditCursor);

/// Content of a cursor.
#[derive(PartialEq, Eq)]
struct CursorBody {
    /// Tag of the subject of the query.
    subject: Option<SubjectTag>,
    from: Option<i64>,
    until: Option<i64>,
    order: i64,
    writer: WriterId,
    page: u64,
    index: u32,
}

fields! { CursorBody { subject from until order writer page index } }

impl Body for CursorBody {}

impl CursorBody {
    fn new(subject: Option<SubjectTag>, between: TimeRange, place: &ItemPlace) -> Self {
        Self {
            subject,
            from: between.from.map(Timestamp::millis),
            until: between.until.map(Timestamp::millis),
            order: place.order.millis(),
            writer: place.writer,
            page: place.page,
            index: place.index,
        }
    }

    fn place(&self) -> ItemPlace {
        ItemPlace {
            order: Timestamp::from_millis(self.order),
            writer: self.writer,
            page: self.page,
            index: self.index,
        }
    }

    fn seal(&self, source: &dyn JournalSource) -> Result<AuditCursor> {
        let keys = source.page_keys();
        let (number, key) = keys.active();
        let sealed = SealedCursor::seal(&identity(number, key), self, |suite, head, salt| {
            cursor_key(suite, key, salt, &source.vault(), head)
        });
        sealed.map(AuditCursor)
    }

    /// Opens a cursor.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`].
    fn open(cursor: &AuditCursor, source: &dyn JournalSource) -> Result<Self> {
        let keys = source.page_keys();
        let (number, key) = keys.active();
        cursor.0.open(&identity(number, key), |suite, head, salt| {
            cursor_key(suite, key, salt, &source.vault(), head)
        })
    }
}

fn identity(number: u32, key: &JournalKey) -> CursorKey<'_> {
    CursorKey {
        kind: KIND,
        number,
        key: FrameKey::Journal(key),
    }
}

impl AuditEntries {
    /// Returns the place after the last item that the iterator returned.
    ///
    /// # Errors
    /// [`Error::Randomness`].
    pub fn cursor(&self) -> Result<AuditCursor> {
        let place = self.returned.unwrap_or(ItemPlace::FIRST);
        CursorBody::new(self.subject, self.between, &place).seal(&*self.source)
    }

    /// Continues after a cursor, instead of from the beginning. The query must have the subject and the time
    /// range of the query that made the cursor.
    ///
    /// Together, the pages contain each entry exactly once that was in the journal when the first page was
    /// read. A later entry is omitted if its time is before the cursor. The faults of
    /// cut chains can repeat.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] if the cursor belongs to another query or vault, was altered, or is from
    /// before a rotation of the journal keys.
    pub fn after(mut self, cursor: &AuditCursor) -> Result<Self> {
        let body = CursorBody::open(cursor, &*self.source)?;
        let place = body.place();
        if body != CursorBody::new(self.subject, self.between, &place) {
            return Err(Error::InvalidCursor);
        }
        self.returned = Some(place);
        self.restart();
        Ok(self)
    }
}

impl SourceKeys<'_> {
    fn active(&self) -> (u32, &JournalKey) {
        match self {
            Self::Vault(header) => {
                let active = header.keyring.active_journal_key();
                (active.number, &active.key)
            }
            Self::Auditor(keys) => keys.active(),
        }
    }
}
