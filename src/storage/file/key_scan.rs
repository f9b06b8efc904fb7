//! Scans by ascending key, which continue after damaged rows.

use std::ops::Bound;

use rusqlite::{Connection, Row};

use super::database::failed;
use super::index::KeyIndex;
use super::row::{ObjectRow, blob, revision, unsigned, value};
use super::schema::key_sum;
use super::segments::Segments;
use crate::storage::scan::prefix_end;
use crate::storage::{
    KEY_BYTES_MAX, Projection, Scan, ScanItem, ScanPage, StorageError, UnreadableRange, Value,
};

/// Size after which a page ends, in bytes of values.
const PAGE_VALUE_BYTES: usize = 8 << 20;

/// Scan by the key index. Columns 6 to 8 are the length of the whole value, the projected value, and
/// the key of the index entry.
///
/// The join makes SQLite read the key from the table, because an entry of a damaged index can lead
/// to the row of another key, or to none.
const BY_INDEX: &str = "
    select o.revision, o.key, o.key_sum, o.segment, o.start, o.length,
        coalesce(o.length, length(o.value)), coalesce(substr(o.value, 1, ?3), x''), entry.key
    from object as entry indexed by object_by_key
        left join object as o on o.revision = entry.revision
    where entry.key >= ?1 and entry.key < ?2 order by entry.key";
/// Scan by the key index without values. SQLite reads no overflow page to determine a length.
const LENGTHS_BY_INDEX: &str = "
    select o.revision, o.key, o.key_sum, o.segment, o.start, o.length,
        coalesce(o.length, length(o.value)), x'', entry.key
    from object as entry indexed by object_by_key
        left join object as o on o.revision = entry.revision
    where entry.key >= ?1 and entry.key < ?2 and ?3 = 0 order by entry.key";
/// Scan of the key index alone. SQLite reads no row of the table, because each row can be in another
/// page. A damaged row is found when its value is read.
const KEYS_BY_INDEX: &str = "
    select revision, key, key_sum from object indexed by object_by_key
    where key >= ?1 and key < ?2 and ?3 = 0 order by key";
/// Scan of the table without the index, for keys whose index entries cannot be read.
const BY_TABLE: &str = "
    select revision, key, key_sum, segment, start, length,
        coalesce(length, length(value)), coalesce(substr(value, 1, ?3), x''), key
    from object not indexed where key >= ?1 and key < ?2 order by key limit ?4";
const NEXT_KEY: &str = "
    select key, key_sum from object where key >= ?1 and key < ?2 order by key limit 1";

/// Returns one page of a scan.
pub(super) fn scan(
    connection: &Connection,
    segments: &Segments,
    scan: Scan<'_>,
) -> Result<ScanPage, StorageError> {
    let mut from = match scan.lower_bound() {
        Bound::Excluded(after) => successor(after),
        Bound::Included(first) => first.to_vec(),
        Bound::Unbounded => Vec::new(),
    };
    let request = Request {
        connection,
        segments,
        end: end_of(scan.prefix),
        projection: scan.projection,
        limit: scan.limit.max(1),
    };
    let mut page = ScanPage::default();
    if request.is_damaged_beside(&from)? {
        return request.collect_from_table(&from, page);
    }
    let mut failed_at = None;
    loop {
        match request.collect(&mut from, &mut page) {
            Err(StorageError::Damaged) => {}
            collected => {
                collected?;
                break;
            }
        }
        // A commit may have deleted an object and its segment file since the statement began. A second
        // attempt then does not find the object.
        if failed_at.as_ref() != Some(&from) {
            failed_at = Some(from.clone());
            continue;
        }
        let Some(key) = request.damaged_key(&from) else {
            return request.collect_from_table(&from, page);
        };
        from = successor(&key);
        page.unreadable.push(UnreadableRange {
            first: key.clone(),
            last: key,
        });
    }
    if !page.more && request.is_damaged_beside(&from)? {
        return request.collect_from_table(&from, page);
    }
    Ok(page)
}

struct Request<'a> {
    connection: &'a Connection,
    segments: &'a Segments,
    end: Vec<u8>,
    projection: Projection,
    limit: usize,
}

impl Request<'_> {
    /// Collects items until the page is full. After an error, `from` is the lower bound of the keys that
    /// are not yet in the page.
    fn collect(&self, from: &mut Vec<u8>, page: &mut ScanPage) -> Result<(), StorageError> {
        let (sql, head) = match self.projection {
            Projection::Keys => (KEYS_BY_INDEX, 0),
            Projection::Head(0) => (LENGTHS_BY_INDEX, 0),
            Projection::Head(bytes) => (BY_INDEX, i32::try_from(bytes).unwrap_or(i32::MAX)),
            Projection::Values => (BY_INDEX, i32::MAX),
        };
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let parameters = (from.as_slice(), self.end.as_slice(), head);
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut bytes: usize = page.items.iter().map(|item| item.value.len()).sum();
        while let Some(row) = rows.next().map_err(failed)? {
            if page.items.len() == self.limit || bytes >= PAGE_VALUE_BYTES {
                page.more = true;
                return Ok(());
            }
            let item = match self.projection {
                Projection::Keys => indexed_key(row)?,
                _ => self.item(row)?,
            };
            bytes += item.value.len();
            *from = successor(&item.key);
            page.items.push(item);
        }
        Ok(())
    }

    fn item(&self, row: &Row<'_>) -> Result<ScanItem, StorageError> {
        let object = ObjectRow::read(row)?;
        if object.key != blob(row, 8)? {
            return Err(StorageError::Damaged);
        }
        let bytes = match self.projection {
            Projection::Keys => 0,
            Projection::Head(bytes) => bytes,
            Projection::Values => usize::MAX,
        };
        let projected = match self.projection {
            Projection::Keys | Projection::Head(0) => Value::default(),
            _ => value(row, 7, &object, self.segments, bytes)?,
        };
        Ok(ScanItem {
            value: projected,
            length: unsigned(row, 6)?,
            revision: object.revision(),
            key: object.key,
        })
    }

    /// Returns `true` if an index entry beside a key is damaged. A page that begins or ends at this key
    /// could then begin too late or end too early.
    fn is_damaged_beside(&self, key: &[u8]) -> Result<bool, StorageError> {
        match KeyIndex::new(self.connection)?.revision(key) {
            Err(StorageError::Damaged) => Ok(true),
            checked => checked.map(|_| false),
        }
    }

    /// Returns the next key if its index entry is intact. The scan then reports only this key as
    /// unreadable. `None` means that the index itself may be damaged.
    fn damaged_key(&self, from: &[u8]) -> Option<Vec<u8>> {
        let mut statement = self.connection.prepare_cached(NEXT_KEY).ok()?;
        let mut rows = statement.query((from, self.end.as_slice())).ok()?;
        let row = rows.next().ok()??;
        let key = blob(row, 0).ok()?;
        (key_sum(key) == row.get::<_, i64>(1).ok()?).then(|| key.to_vec())
    }

    /// Continues a page without the index, after damage of the index. This is slow, because SQLite reads
    /// the whole table.
    fn collect_from_table(
        &self,
        from: &[u8],
        mut page: ScanPage,
    ) -> Result<ScanPage, StorageError> {
        let head = match self.projection {
            Projection::Keys => 0,
            Projection::Head(bytes) => i32::try_from(bytes).unwrap_or(i32::MAX),
            Projection::Values => i32::MAX,
        };
        let mut statement = self.connection.prepare_cached(BY_TABLE).map_err(failed)?;
        let room = self.limit.saturating_sub(page.items.len()).max(1);
        let limit = i64::try_from(room).unwrap_or(i64::MAX).saturating_add(1);
        let parameters = (from, self.end.as_slice(), head, limit);
        let mut rows = statement.query(parameters).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            if page.items.len() >= self.limit {
                page.more = true;
                break;
            }
            page.items.push(self.item(row)?);
        }
        Ok(page)
    }
}

/// Returns an item of [`KEYS_BY_INDEX`], and checks its key against its checksum.
fn indexed_key(row: &Row<'_>) -> Result<ScanItem, StorageError> {
    let key = blob(row, 1)?;
    if key_sum(key) != row.get::<_, i64>(2).map_err(failed)? {
        return Err(StorageError::Damaged);
    }
    Ok(ScanItem {
        key: key.to_vec(),
        value: Value::default(),
        length: 0,
        revision: revision(row.get(0).map_err(failed)?),
    })
}

/// Returns the smallest key that is greater than `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// Returns an exclusive upper bound of the keys with a prefix.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    prefix_end(prefix).unwrap_or_else(|| vec![u8::MAX; KEY_BYTES_MAX + 1])
}
