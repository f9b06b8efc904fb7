//! Integrity check of the database and of the segment files.

use rusqlite::Connection;

use super::database::failed;
use super::file_snapshot::FileSnapshot;
use super::header_copy::HeaderCopies;
use super::row::unsigned;
use super::segments::{Extent, Segments};
use crate::storage::{Integrity, StorageError};

/// Maximum number of faults that SQLite lists.
const FAULTS_MAX: u32 = 1000;

/// Checks the structure of the database, both copies of the vault header, and that each referenced segment
/// file exists and is complete.
pub(super) fn check(
    snapshot: &FileSnapshot,
    segments: &Segments,
) -> Result<Integrity, StorageError> {
    snapshot.with(|connection| {
        Ok(Integrity {
            // Nothing else compares the two copies. Each can be damaged while the structure is sound.
            structure_faults: structure_faults(connection)?
                + u64::from(HeaderCopies::read(connection).is_damaged()),
            missing_values: missing_values(connection, segments)?,
        })
    })
}

fn structure_faults(connection: &Connection) -> Result<u64, StorageError> {
    let sql = format!("pragma integrity_check({FAULTS_MAX})");
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    let mut faults = 0;
    loop {
        match rows.next().map_err(failed) {
            Ok(Some(row)) => {
                let text: String = row.get(0).map_err(failed)?;
                faults += u64::from(text != "ok");
            }
            Ok(None) => return Ok(faults),
            // SQLite ended its check at a page that it could not read.
            Err(StorageError::Damaged) => return Ok(faults + 1),
            Err(error) => return Err(error),
        }
    }
}

/// Returns the keys whose segment file is missing or too short.
fn missing_values(
    connection: &Connection,
    segments: &Segments,
) -> Result<Vec<Vec<u8>>, StorageError> {
    let sql =
        "select key, segment, start, length from object not indexed where segment is not null";
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    let mut missing = Vec::new();
    loop {
        match rows.next().map_err(failed) {
            Ok(Some(row)) => {
                let extent = Extent {
                    file: row.get(1).map_err(failed)?,
                    start: unsigned(row, 2)?,
                    length: unsigned(row, 3)?,
                };
                if !segments.contains(&extent)? {
                    missing.push(row.get(0).map_err(failed)?);
                }
            }
            // The structure check already counted the damage.
            Ok(None) | Err(StorageError::Damaged) => return Ok(missing),
            Err(error) => return Err(error),
        }
    }
}
