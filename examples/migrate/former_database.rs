//! The former database of the app: the table `resources` in an SQLite file.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chartlock::{Document, RecordId};
use rusqlite::{Connection, OpenFlags, Row, Statement};

use crate::Outcome;

/// The table that this example reads. `changed_at` is in seconds since 1970, or null if it is unknown.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE resources (
        number INTEGER PRIMARY KEY,
        mrn TEXT NOT NULL,
        kind TEXT NOT NULL,
        body BLOB NOT NULL,
        changed_at INTEGER,
        changed_by TEXT NOT NULL
    )";
const COLUMNS: &str = "SELECT number, mrn, kind, body, changed_at, changed_by FROM resources";

pub(crate) struct FormerDatabase(Connection);

/// A statement that reads rows.
pub(crate) struct RowReader<'a>(Statement<'a>);

/// A record of the former database.
pub(crate) struct FormerRow {
    pub(crate) number: i64,
    pub(crate) mrn: String,
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
    changed_at: Option<i64>,
    pub(crate) changed_by: String,
}

impl FormerDatabase {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // One transaction for everything, so that the import and the comparison read the same rows.
        connection.execute_batch("BEGIN")?;
        Ok(Self(connection))
    }

    pub(crate) fn count(&self) -> Outcome<u64> {
        let count = "SELECT count(*) FROM resources";
        let count: i64 = self.0.query_row(count, (), |row| row.get(0))?;
        Ok(count.try_into()?)
    }

    /// Reads all rows, those of one patient after another.
    pub(crate) fn reader(&self) -> Outcome<RowReader<'_>> {
        let query = format!("{COLUMNS} ORDER BY mrn, number");
        Ok(RowReader(self.0.prepare(&query)?))
    }

    /// Returns the row that became a record; `None` if there is none.
    pub(crate) fn row_of(&self, record: &str) -> Outcome<Option<FormerRow>> {
        let Some((kind, number)) = record.rsplit_once('/') else {
            return Ok(None);
        };
        let query = format!("{COLUMNS} WHERE number = ? AND kind = ?");
        let mut statement = self.0.prepare_cached(&query)?;
        let mut rows = statement.query((number, kind))?;
        Ok(rows.next()?.map(FormerRow::read).transpose()?)
    }
}

impl RowReader<'_> {
    pub(crate) fn rows(&mut self) -> Outcome<impl Iterator<Item = rusqlite::Result<FormerRow>>> {
        Ok(self.0.query_map((), FormerRow::read)?)
    }
}

impl FormerRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            mrn: row.get(1)?,
            kind: row.get(2)?,
            body: row.get(3)?,
            changed_at: row.get(4)?,
            changed_by: row.get(5)?,
        })
    }

    /// Returns the id of the record. Its name contains the row's primary key, so that a repeated import finds the
    /// record.
    pub(crate) fn id(&self) -> Outcome<RecordId> {
        let name = format!("{}/{}", self.kind, self.number);
        Ok(RecordId::patient(&self.mrn, &name)?)
    }

    pub(crate) fn changed_at(&self) -> Option<SystemTime> {
        let seconds = self.changed_at?;
        let distance = Duration::from_secs(seconds.unsigned_abs());
        match seconds {
            ..0 => UNIX_EPOCH.checked_sub(distance),
            _ => UNIX_EPOCH.checked_add(distance),
        }
    }

    pub(crate) fn document(&self) -> Document<'static> {
        let document = Document::owned(self.body.clone())
            .content_type("application/fhir+json")
            .label(&self.kind)
            .original_author(&self.changed_by);
        match self.changed_at() {
            Some(time) => document.original_time(time),
            None => document,
        }
    }
}
