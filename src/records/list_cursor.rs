//! Cursor of a list or a history: the place after the last item of a page, from which the next page
//! continues.
//!
//! A cursor is sealed under the chart's name key, which no rotation replaces and an erasure destroys.
//! The sealing key depends on the query, so no other query opens the cursor.

use serde::{Deserialize, Serialize};

use crate::crypto::{Digest, FrameKey, PatientNameKey, VaultId, list_cursor_key, sha256};
use crate::error::{Error, Result};
use crate::format::codec::{Body, fields};
use crate::storage::KEY_BYTES_MAX;
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;
use crate::vault::sealed_cursor::{CursorKey, SealedCursor, cursor_text};

/// Kind byte of a sealed cursor. No storage contains one.
const KIND: u8 = 26;

/// A place in a list of records or in a history, as an opaque text of 278 characters, from
/// [`ListPage::next_cursor`](crate::lists::ListPage::next_cursor).
///
/// The text reveals nothing, and all texts have the same length, so an app can give a cursor to a
/// client. A client can neither read nor make a cursor. A cursor continues only the same query (order,
/// name prefix, time, retracted records) about the same subject or record of the same vault; the limit
/// may differ. A cursor grants no access: the query that continues asks the policy, and is journaled.
///
/// A cursor remains valid after a restart and after every key rotation. The erasure of the subject makes
/// it invalid.
///
/// ```
/// # use chartlock::{*, lists::{ListCursor, ListQuery}};
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let patient = Subject::patient("MRN-1042")?;
/// # for name in ["a", "b", "c"] { session.put(&RecordId::patient("MRN-1042", name)?, b"{}")?; }
/// let page = session.list_page(&patient, &ListQuery::new().limit(2))?;
/// let text = page.next_cursor().expect("one record is left").to_string();
///
/// // Later, perhaps in another process:
/// let cursor: ListCursor = text.parse()?;
/// let next = session.list_page(&patient, &ListQuery::new().limit(2).after(&cursor))?;
/// assert_eq!(next.len(), 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListCursor(SealedCursor);

cursor_text!(ListCursor);

/// Maximum length of a place: of a storage key without the prefix of its chart.
pub(super) const PLACE_MAX: usize = KEY_BYTES_MAX - 17;

/// The part of a list to which a place belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListPart {
    /// Records that opened; in stored order, all records.
    Records,
    /// In order of names, the records that did not open, after all others.
    Unreadable,
}

/// A place in a list: the storage key after which it continues, without the prefix of the chart. For a
/// history, the version number instead.
///
/// Every place has the same encoded length, so that the length of a cursor reveals nothing.
struct CursorBody {
    part: u8,
    length: u8,
    place: [u8; PLACE_MAX],
}

fields! { CursorBody { part length place } }

impl Body for CursorBody {}

/// Codec for the cursors of one query.
pub(super) struct ListCursors<'a> {
    vault: VaultId,
    names: &'a PatientNameKey,
    query: Digest,
}

impl<'a> ListCursors<'a> {
    /// Creates the codec for a query about a chart. `query` is the query's unambiguous encoding.
    pub(super) fn new(vault: &Vault, cached: &'a CachedEntry, query: &[u8]) -> Result<Self> {
        Ok(Self {
            vault: *vault.header()?.header.vault(),
            names: cached.chart()?.name_key(),
            query: sha256(&[query]),
        })
    }

    fn key(&self) -> CursorKey<'a> {
        CursorKey {
            kind: KIND,
            number: 0,
            key: FrameKey::Names(self.names),
        }
    }

    /// Seals a place, at most [`PLACE_MAX`] bytes.
    pub(super) fn seal(&self, part: ListPart, place: &[u8]) -> Result<ListCursor> {
        let mut body = CursorBody {
            part: match part {
                ListPart::Records => 0,
                ListPart::Unreadable => 1,
            },
            length: place.len() as u8,
            place: [0; PLACE_MAX],
        };
        let target = body.place.get_mut(..place.len()).ok_or(Error::Malformed)?;
        target.copy_from_slice(place);
        let sealed = SealedCursor::seal(&self.key(), &body, |suite, head, salt| {
            list_cursor_key(suite, self.names, salt, &self.vault, head, &self.query)
        });
        sealed.map(ListCursor)
    }

    /// Returns the place of a cursor.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`].
    pub(super) fn open(&self, cursor: &ListCursor) -> Result<(ListPart, Vec<u8>)> {
        let body: CursorBody = cursor.0.open(&self.key(), |suite, head, salt| {
            list_cursor_key(suite, self.names, salt, &self.vault, head, &self.query)
        })?;
        let part = match body.part {
            0 => ListPart::Records,
            1 => ListPart::Unreadable,
            _ => return Err(Error::InvalidCursor),
        };
        let place = body.place.get(..usize::from(body.length));
        Ok((part, place.ok_or(Error::InvalidCursor)?.to_vec()))
    }
}
