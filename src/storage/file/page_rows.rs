//! Rows of the object table that no tree reaches any more, for salvage.
//!
//! Damage in an inner page of a tree hides the pages below it. In a copy of the database, one table is
//! therefore declared with each page in turn as its root. SQLite then reads the rows of this page
//! without the inner pages.

use std::path::Path;

use rusqlite::{Connection, Row};

use super::database::{self, Role, failed, number, set};
use super::schema::COLUMNS;
use crate::storage::StorageError;

/// Declares the table `page`, with the columns of `object` and the given root page.
const DECLARE: &str = "
    insert into sqlite_schema (type, name, tbl_name, rootpage, sql)
    select 'table', 'page', 'page', ?1, replace(sql, 'object', 'page')
    from sqlite_schema where name = 'object'";
/// Makes SQLite read the table definitions again, and ends the permission to change them.
const RELOAD: &str = "pragma writable_schema = reset";

/// Passes each row of each page of the copy to `visit`: the columns of `schema::COLUMNS` and the value.
/// Skips pages that contain no rows, or whose rows cannot be read.
///
/// # Errors
/// Errors of `visit`; [`StorageError::Damaged`] if SQLite cannot open the copy.
pub(super) fn each_row(
    copy: &Path,
    visit: &mut dyn FnMut(&Row<'_>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let connection = database::connect(copy, Role::Writer, 1 << 20)?;
    let pages = number(&connection, "pragma page_count")?;
    for page in 2..=pages {
        // Roll back after each page, because SQLite accepts no further change in a transaction that met a
        // damaged page.
        let transaction = connection.unchecked_transaction().map_err(failed)?;
        if declare(&transaction, page).is_ok() {
            visit_rows(&transaction, visit)?;
        }
    }
    Ok(())
}

fn declare(connection: &Connection, page: i64) -> Result<(), StorageError> {
    set(connection, "writable_schema", 1)?;
    connection.execute(DECLARE, [page]).map_err(failed)?;
    connection.execute_batch(RELOAD).map_err(failed)
}

/// Passes the rows up to the first error of SQLite to `visit`.
fn visit_rows(
    connection: &Connection,
    visit: &mut dyn FnMut(&Row<'_>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let sql = format!("select {COLUMNS}, value from page");
    let Ok(mut statement) = connection.prepare(&sql) else {
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
