//! Rows of the object table that no tree reaches any more, for salvage.
//!
//! Damage in an inner page of a tree hides the pages below it. In a copy of the database, one table is
//! therefore declared with each leaf page in turn as its root. SQLite then reads the rows of this page
//! without the inner pages.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, Row};

use super::database::{self, Checkpoint, Role, failed, number, set};
use super::directory::DATABASE;
use super::positioned::read_at;
use super::schema::PAGE_BYTES;
use crate::storage::StorageError;

/// First byte of a leaf page of a table (SQLite file format, section 1.6).
const TABLE_LEAF: u8 = 0x0d;

/// Declares the table `page`, with the columns of `object` and the given root page.
const DECLARE: &str = "
    insert into sqlite_schema (type, name, tbl_name, rootpage, sql)
    select 'table', 'page', 'page', ?1, replace(sql, 'object', 'page')
    from sqlite_schema where name = 'object'";
/// Makes SQLite read the table definitions again, and ends the permission to change them.
const RELOAD: &str = "pragma writable_schema = reset";

/// Leaf pages of a temporary copy of the database.
pub(super) struct PageRows {
    connection: Connection,
    // Closing this descriptor releases SQLite's locks. No other process uses the copy.
    file: File,
}

impl PageRows {
    /// Opens a copy and copies its log into its database, so that the file contains the newest version of
    /// each page.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if SQLite cannot open the copy; [`StorageError::Full`] if the log needs
    /// more space than the disk has.
    pub(super) fn open(copy: &Path) -> Result<Self, StorageError> {
        let connection = database::connect(copy, Role::Writer, 1 << 20)?;
        if database::empty_log(&connection)? != Checkpoint::Emptied {
            return Err(StorageError::InUse);
        }
        let file = File::open(copy.join(DATABASE))?;
        Ok(Self { connection, file })
    }

    /// Passes the given columns of each row of each leaf page to `visit`. Skips the rows that follow an
    /// unreadable row in its page.
    ///
    /// # Errors
    /// Errors of `visit`; an error of reading the file.
    pub(super) fn each(
        &self,
        columns: &str,
        visit: &mut dyn FnMut(&Row<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        for page in 2..=number(&self.connection, "pragma page_count")? {
            if !self.is_table_leaf(page)? {
                continue;
            }
            // Roll back after each page, because SQLite accepts no further change in a transaction that
            // met a damaged page.
            let transaction = self.connection.unchecked_transaction().map_err(failed)?;
            if declare(&transaction, page).is_ok() {
                visit_rows(&transaction, columns, visit)?;
            }
        }
        Ok(())
    }

    fn is_table_leaf(&self, page: i64) -> Result<bool, StorageError> {
        let before = u64::try_from(page - 1).map_err(|_| StorageError::Damaged)?;
        let mut kind = [0];
        read_at(&self.file, &mut kind, before * PAGE_BYTES as u64)?;
        Ok(kind == [TABLE_LEAF])
    }
}

fn declare(connection: &Connection, page: i64) -> Result<(), StorageError> {
    set(connection, "writable_schema", 1)?;
    connection.execute(DECLARE, [page]).map_err(failed)?;
    connection.execute_batch(RELOAD).map_err(failed)
}

/// Passes the rows up to the first error of SQLite to `visit`.
fn visit_rows(
    connection: &Connection,
    columns: &str,
    visit: &mut dyn FnMut(&Row<'_>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let Ok(mut statement) = connection.prepare(&format!("select {columns} from page")) else {
        return Ok(());
    };
    let Ok(mut rows) = statement.query(()) else {
        return Ok(());
    };
    while let Ok(Some(row)) = rows.next() {
        visit(row)?;
    }
    Ok(())
}
