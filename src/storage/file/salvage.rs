//! Salvage of the readable objects in a damaged storage directory.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::content::check_content;
use super::database::{self, Role, number};
use super::directory::absolute;
use super::header_copy::HeaderCopies;
use super::origin::{origin, origin_without_log};
use super::page_rows::PageRows;
use super::repair::Scratch;
use super::row::{ObjectRow, value};
use super::schema::{COLUMNS, HEADER_KEY, PAGE_BYTES};
use super::segments::Segments;
use crate::storage::{
    CommitError, Expect, KEY_BYTES_MAX, Storage, StorageError, Transaction, VALUE_BYTES_MAX, Value,
};

/// Maximum number of objects in one commit to the target.
const BATCH_OBJECTS: usize = 256;

/// Size of the values after which a batch is committed to the target, in bytes.
const BATCH_BYTES: usize = 8 << 20;

/// Report of a salvage.
///
/// ```
/// use chartlock::storage::{FileStorage, MemoryStorage};
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path().join("clinic");
/// # drop(FileStorage::open(&directory)?);
/// let report = FileStorage::salvage(&directory, &MemoryStorage::new())?;
/// assert_eq!((report.objects, report.unreadable), (0, 0));
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Number of objects that were read, including those that the target already contained.
    pub objects: u64,
    /// Number of objects that were found, but whose value could not be read.
    pub unreadable: u64,
    /// `true` if the vault header was taken from its second copy.
    pub used_header_copy: bool,
}

/// Copies the readable objects of a directory into another storage.
pub(super) fn salvage(
    directory: &Path,
    target: &dyn Storage,
) -> Result<SalvageReport, StorageError> {
    let directory = absolute(directory)?;
    match check_content(&directory).and_then(|()| database::check_file(&directory)) {
        Err(StorageError::Io(std::io::ErrorKind::NotFound)) => return Err(StorageError::Damaged),
        checked => checked?,
    }
    // Create the directory before the connection, so that the connection is closed first.
    let scratch = Scratch::new()?;
    let Source {
        connection: source,
        uses_log,
    } = connect(&directory, &scratch)?;
    let mut salvage = Salvage {
        segments: Segments::new(&directory),
        target,
        batch: Vec::new(),
        batch_bytes: 0,
        copied: HashSet::new(),
        unreadable: HashSet::new(),
        report: SalvageReport::default(),
    };
    // Copy the header first, because `copy_rows` would otherwise copy the damaged header.
    salvage.copy_header(&source)?;
    // Each of these scans reaches rows that damage hides from the others. The newest rows come first,
    // because pages of different times can contain two rows of the same key.
    salvage.copy_rows(&source, "order by revision desc")?;
    salvage.copy_rows(&source, "order by revision")?;
    salvage.copy_by_index(&source)?;
    if !is_sound(&source) {
        // Commit first, because the copy of the database can exceed the space for temporary files.
        salvage.flush()?;
        drop(source);
        salvage.copy_by_page(scratch.copy(&directory, uses_log)?)?;
    }
    salvage.flush()?;
    salvage.report.objects = salvage.copied.len() as u64;
    let unreadable = salvage.unreadable.difference(&salvage.copied);
    salvage.report.unreadable = unreadable.count() as u64;
    Ok(salvage.report)
}

/// Connection to the database, or to a copy with a new first page.
struct Source {
    connection: Connection,
    uses_log: bool,
}

/// Opens the database with its log. If that fails, opens it without the log, or else opens a copy with
/// a new first page.
fn connect(directory: &Path, scratch: &Scratch) -> Result<Source, StorageError> {
    for role in [Role::Reader, Role::Immutable] {
        let connection = database::connect(directory, role, 1 << 20);
        if let Ok(connection) = connection
            && (role == Role::Immutable || has_own_log(&connection, directory))
            && probe(&connection, directory, scratch).unwrap_or(false)
        {
            return Ok(Source {
                connection,
                uses_log: role == Role::Reader,
            });
        }
    }
    let connection = database::connect(scratch.copy(directory, true)?, Role::Reader, 1 << 20)?;
    match probe(&connection, directory, scratch) {
        Ok(true) => Ok(Source {
            connection,
            uses_log: true,
        }),
        _ => Err(StorageError::Damaged),
    }
}

/// Returns `true` if SQLite finds no damage in the database.
fn is_sound(connection: &Connection) -> bool {
    let check = "pragma integrity_check(1)";
    let result = connection.query_row(check, (), |row| row.get(0));
    result.is_ok_and(|result: String| result == "ok")
}

/// Returns `false` if the log belongs to another storage, or is older than the database file. Salvage
/// then ignores the log.
fn has_own_log(connection: &Connection, directory: &Path) -> bool {
    match (origin(connection), origin_without_log(directory)) {
        (Ok((id, number)), Ok((id_alone, number_alone))) => {
            id == id_alone && number >= number_alone
        }
        _ => true,
    }
}

/// Returns `true` if the page count and the table definitions in the first page are plausible.
fn probe(
    connection: &Connection,
    directory: &Path,
    scratch: &Scratch,
) -> Result<bool, StorageError> {
    let page_count = |connection: &Connection| number(connection, "pragma page_count");
    let pages = page_count(connection)?;
    let whole = std::fs::metadata(database::path(directory))?.len() / PAGE_BYTES as u64;
    // After a return of free pages, the log can contain a smaller page count, which the checksums of the
    // log protect. A page count in the database file that is smaller than the file is damage.
    let is_sound = u64::try_from(pages).unwrap_or(0) >= whole
        || database::connect(directory, Role::Immutable, 1 << 20)
            .and_then(|alone| page_count(&alone))
            .is_ok_and(|alone| alone != pages);
    Ok(is_sound && scratch.has_same_tables(connection)?)
}

struct Salvage<'a> {
    segments: Segments,
    target: &'a dyn Storage,
    batch: Vec<Transaction>,
    batch_bytes: usize,
    copied: HashSet<Vec<u8>>,
    unreadable: HashSet<Vec<u8>>,
    report: SalvageReport,
}

impl Salvage<'_> {
    /// Copies the rows of the table in the given order, up to the first page that cannot be read.
    fn copy_rows(&mut self, source: &Connection, order: &str) -> Result<(), StorageError> {
        let sql = format!("select {COLUMNS}, value from object not indexed {order}");
        let Ok(mut statement) = source.prepare(&sql) else {
            return Ok(());
        };
        let Ok(mut rows) = statement.query(()) else {
            return Ok(());
        };
        while let Ok(Some(row)) = rows.next() {
            self.copy_row(row)?;
        }
        Ok(())
    }

    /// Copies each row that is not copied yet, by its key in the index.
    fn copy_by_index(&mut self, source: &Connection) -> Result<(), StorageError> {
        let next_key = "select key from object where key > ?1 order by key limit 1";
        let by_key = format!("select {COLUMNS}, value from object where key = ?1");
        let mut after = Vec::new();
        let next = |after: &[u8]| source.query_row(next_key, [after], |row| row.get(0));
        while let Ok(key) = next(&after) {
            after = key;
            if self.copied.contains(&after) {
                continue;
            }
            let found = source.prepare_cached(&by_key).and_then(|mut statement| {
                let mut rows = statement.query([&after])?;
                Ok(rows.next()?.map(|row| self.copy_row(row)))
            });
            match found {
                Ok(Some(copied)) => copied?,
                _ => {
                    self.unreadable.insert(after.clone());
                }
            }
        }
        Ok(())
    }

    /// Copies each row that is not copied yet, page by page. Of several rows with the same key, copies the
    /// newest, because pages can be of different times.
    fn copy_by_page(&mut self, copy: &Path) -> Result<(), StorageError> {
        let pages = PageRows::open(copy)?;
        let mut newest = HashMap::new();
        pages.each(COLUMNS, &mut |row| {
            if let Some(object) = self.missing(row) {
                let revision = newest.entry(object.key).or_insert(object.revision);
                *revision = object.revision.max(*revision);
            }
            Ok(())
        })?;
        if newest.is_empty() {
            return Ok(());
        }
        // A value that cannot be read also hides the rest of its page.
        self.unreadable.extend(newest.keys().cloned());
        pages.each(
            &format!("{COLUMNS}, value"),
            &mut |row| match self.missing(row) {
                Some(object) if newest.get(&object.key) == Some(&object.revision) => {
                    self.copy_object(row, object)
                }
                _ => Ok(()),
            },
        )
    }

    fn copy_row(&mut self, row: &Row<'_>) -> Result<(), StorageError> {
        match self.missing(row) {
            Some(object) => self.copy_object(row, object),
            None => Ok(()),
        }
    }

    /// Returns the object of a row, unless the row is damaged or the object is already copied.
    fn missing(&self, row: &Row<'_>) -> Option<ObjectRow> {
        let object = ObjectRow::read(row).ok()?;
        let is_key = (1..=KEY_BYTES_MAX).contains(&object.key.len());
        (is_key && !self.copied.contains(&object.key)).then_some(object)
    }

    fn copy_object(&mut self, row: &Row<'_>, object: ObjectRow) -> Result<(), StorageError> {
        // Stop reading at a damaged length. The target would refuse the value, and with it the batch.
        match value(row, 6, &object, &self.segments, VALUE_BYTES_MAX + 1) {
            Ok(value) if value.len() <= VALUE_BYTES_MAX => self.put(object.key, value),
            _ => {
                self.unreadable.insert(object.key);
                Ok(())
            }
        }
    }

    /// Copies the second copy of the vault header if the first is damaged.
    fn copy_header(&mut self, source: &Connection) -> Result<(), StorageError> {
        if let Some(header) = HeaderCopies::read(source).replacement() {
            self.report.used_header_copy = true;
            self.put(HEADER_KEY.to_vec(), header)?;
        }
        Ok(())
    }

    fn put(&mut self, key: Vec<u8>, value: Value) -> Result<(), StorageError> {
        self.batch_bytes += value.len();
        self.copied.insert(key.clone());
        self.batch
            .push(Transaction::new().put(key, value, Expect::Absent));
        if self.batch.len() >= BATCH_OBJECTS || self.batch_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        self.batch_bytes = 0;
        for result in self.target.commit(&std::mem::take(&mut self.batch)) {
            match result {
                // The target already contains the object.
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Io(error)) => return Err(error),
                Err(CommitError::Unknown) => return Err(StorageError::Stopped),
            }
        }
        Ok(())
    }
}
