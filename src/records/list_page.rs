//! Pages of a list of records: in stored order, and in order of names.

use std::collections::BTreeMap;

use crate::crypto::Place;
use crate::error::{Error, Result};
use crate::format::envelope::{self, Address, Head};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::records::document::RecordInfo;
use crate::records::list::{ChartWalk, OBJECTS_PER_SCAN};
use crate::records::list_cursor::{ListCursor, ListCursors, ListPart};
use crate::records::list_query::{ListOrder, ListQuery};
use crate::records::read::info;
use crate::storage::{ScanItem, StorageError, Stored};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

/// Page of a list of records or of a history; from
/// [`Session::list_page`](crate::Session::list_page) and
/// [`Session::history_page`](crate::Session::history_page).
///
/// In a list, the item of a record that does not open is an error. In a history, every item is a
/// description.
///
/// ```
/// # use chartlock::{*, lists::ListQuery};
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let page = session.list_page(&Subject::patient("MRN-1042")?, &ListQuery::new())?;
/// assert!(page.next_cursor().is_none());
/// for record in page {
///     assert_eq!(record?.name(), "Observation/bp");
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Default)]
pub struct ListPage {
    pub(super) items: Vec<Result<RecordInfo>>,
    pub(super) next: Option<ListCursor>,
}

impl ListPage {
    /// Returns the items in the order of the query.
    pub fn items(&self) -> &[Result<RecordInfo>] {
        &self.items
    }

    /// Returns the cursor from which the next page continues; `None` for the last page. If the rest of
    /// the chart has no record that the query selects, the next page is empty.
    pub fn next_cursor(&self) -> Option<&ListCursor> {
        self.next.as_ref()
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns `true` if the page has no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl IntoIterator for ListPage {
    type Item = Result<RecordInfo>;
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl std::fmt::Debug for ListPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ListPage({} items, ..)", self.items.len())
    }
}

/// Rank of a record in the order of names. Records that did not open come last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum NameRank {
    Named(Box<str>),
    /// A record that did not open, by its storage key without the prefix of the chart.
    Unreadable(Vec<u8>),
}

/// The smallest records of a pass, in order of names, each with its place.
type SmallestRecords = BTreeMap<NameRank, (Vec<u8>, Result<RecordInfo>)>;

impl Vault {
    /// Returns one page of a subject's records; `None` if the vault has no entry for the subject.
    pub(crate) fn list_page(
        &self,
        subject: &Subject,
        query: &ListQuery,
    ) -> Result<Option<ListPage>> {
        let Some(mut chart) = self.chart_of(subject)? else {
            return Ok(None);
        };
        let cached = chart.cached().clone();
        let cursors = ListCursors::new(self, &cached, &query.encoding())?;
        let after = query.after.as_ref().map(|cursor| cursors.open(cursor));
        let after = after.transpose()?;
        let page = match query.order {
            ListOrder::Stored => self.stored_page(&mut chart, query, &cursors, after)?,
            ListOrder::Names => {
                let after = after.map(|(part, place)| self.rank_at(&mut chart, part, place));
                self.named_page(&mut chart, query, &cursors, after.transpose()?)?
            }
        };
        Ok(Some(page))
    }

    fn stored_page(
        &self,
        chart: &mut ChartWalk,
        query: &ListQuery,
        cursors: &ListCursors<'_>,
        after: Option<(ListPart, Vec<u8>)>,
    ) -> Result<ListPage> {
        if let Some((_, place)) = after {
            chart.continue_after(&place);
        }
        let (mut items, mut last) = (Vec::new(), None);
        // Scan one object more than the limit, which shows whether another page follows.
        let mut objects = query.limit + 1;
        while !chart.has_ended() {
            chart.set_limit(objects);
            for item in self.scanned(chart)? {
                if items.len() == query.limit {
                    return page_with_next(items, cursors, last);
                }
                let place = chart.place_after(&item.key);
                items.extend(opened(chart, query, item)?);
                last = Some(place);
            }
            if items.len() == query.limit && !chart.has_ended() {
                return page_with_next(items, cursors, last);
            }
            // Fetch more at once, because few records of this part of the chart are selected.
            objects = objects.saturating_mul(2).min(OBJECTS_PER_SCAN);
        }
        Ok(ListPage { items, next: None })
    }

    fn named_page(
        &self,
        chart: &mut ChartWalk,
        query: &ListQuery,
        cursors: &ListCursors<'_>,
        after: Option<NameRank>,
    ) -> Result<ListPage> {
        let mut smallest = SmallestRecords::new();
        while !chart.has_ended() {
            for item in self.scanned(chart)? {
                let place = storage_keys::rest_of_chart(&item.key).to_vec();
                let Some(found) = opened(chart, query, item)? else {
                    continue;
                };
                let rank = match &found {
                    Ok(info) => NameRank::Named(info.name().into()),
                    Err(_) => NameRank::Unreadable(place.clone()),
                };
                if after.as_ref().is_none_or(|after| rank > *after) {
                    smallest.insert(rank, (place, found));
                }
                // Keep one record more than the limit, which shows that another page follows.
                if smallest.len() > query.limit + 1 {
                    smallest.pop_last();
                }
            }
        }
        let has_more = smallest.len() > query.limit;
        if has_more {
            smallest.pop_last();
        }
        let next = smallest.last_key_value().filter(|_| has_more);
        let next = next.map(|(rank, (place, _))| {
            let part = match rank {
                NameRank::Named(_) => ListPart::Records,
                NameRank::Unreadable(_) => ListPart::Unreadable,
            };
            cursors.seal(part, place)
        });
        let next = next.transpose()?;
        let items = smallest.into_values().map(|(_, found)| found).collect();
        Ok(ListPage { items, next })
    }

    /// Fetches the next scan page of a chart, unless the vault was locked meanwhile.
    fn scanned(&self, chart: &mut ChartWalk) -> Result<Vec<ScanItem>> {
        self.header()?;
        chart.page()
    }

    /// Returns the rank of the record at the place of a cursor. The record's name is read again, because
    /// a cursor with a name would be long, or reveal the length of the name.
    fn rank_at(&self, chart: &mut ChartWalk, part: ListPart, place: Vec<u8>) -> Result<NameRank> {
        if part == ListPart::Unreadable {
            return Ok(NameRank::Unreadable(place));
        }
        let stored = chart.read_at(&place)?.ok_or(Error::InvalidCursor)?;
        let found = chart.open(stored, open_info)?.ok_or(Error::InvalidCursor)?;
        Ok(NameRank::Named(found.name().into()))
    }
}

fn page_with_next(
    items: Vec<Result<RecordInfo>>,
    cursors: &ListCursors<'_>,
    last: Option<Vec<u8>>,
) -> Result<ListPage> {
    let next = last.map(|place| cursors.seal(ListPart::Records, &place));
    Ok(ListPage {
        items,
        next: next.transpose()?,
    })
}

/// Opens a record of a scan page. Returns `None` if the query does not select the record, and an item
/// with an error if the record does not open.
fn opened(
    chart: &mut ChartWalk,
    query: &ListQuery,
    item: ScanItem,
) -> Result<Option<Result<RecordInfo>>> {
    match chart.open(item, open_info) {
        Ok(info) => Ok(info.filter(|info| query.selects(info)).map(Ok)),
        Err(error) if is_of_record(&error) => Ok(Some(Err(error))),
        Err(error) => Err(error),
    }
}

/// Returns `true` for an error of one record, and `false` for an error that ends the query.
pub(super) fn is_of_record(error: &Error) -> bool {
    match error {
        Error::Storage(error) => *error == StorageError::Damaged,
        Error::Locked | Error::Erased | Error::Contended | Error::Randomness => false,
        _ => true,
    }
}

/// Returns the description of a current version, also of a retraction.
fn open_info(
    _: &Vault,
    cached: &CachedEntry,
    address: &Address,
    stored: Stored,
) -> Result<Option<RecordInfo>> {
    let head = Head::parse(&stored.value)?;
    let key = cached.unwrap_data_key(&head, Place::Current)?;
    let opened = envelope::open(stored.value.into(), &head, address, None, &key)?;
    let info = info(address, &head, opened.meta, &opened.content);
    cached.check_name(address, info.name())?;
    Ok(Some(info))
}
