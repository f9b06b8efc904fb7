//! Comparison of the vault with the former database, in both directions.

use std::fmt;

use chartlock::{Record, Session};

use crate::Outcome;
use crate::former_database::{FormerDatabase, FormerRow};

/// Counts of a comparison.
#[derive(Default)]
pub(crate) struct Differences {
    equal: u64,
    /// Rows without a record, or whose record differs.
    rows: u64,
    /// Records without a row.
    records: u64,
}

impl Differences {
    pub(crate) fn is_none(&self) -> bool {
        self.rows == 0 && self.records == 0
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows and records are equal. {} rows are missing in the vault or differ. \
             {} records have no row.",
            self.equal, self.rows, self.records
        )
    }
}

pub(crate) fn compare(session: &Session, former: &FormerDatabase) -> Outcome<Differences> {
    let mut found = Differences::default();
    let mut reader = former.reader()?;
    for row in reader.rows()? {
        let row = row?;
        // A row without a valid id, and a record that cannot be read, are differences.
        let record = row.id().ok().and_then(|id| session.get(&id).ok().flatten());
        match record.is_some_and(|record| is_equal(&record, &row)) {
            true => found.equal += 1,
            false => found.rows += 1,
        }
    }
    for subject in session.subjects()? {
        let subject = subject?;
        for name in session.list(&subject)? {
            let row = former.row_of(name?.name())?;
            if row.is_none_or(|row| row.mrn != subject.identifier()) {
                found.records += 1;
            }
        }
    }
    Ok(found)
}

fn is_equal(record: &Record, row: &FormerRow) -> bool {
    let info = record.info();
    record[..] == row.body[..]
        && info.labels().eq([row.kind.as_str()])
        && info.original_time() == row.changed_at()
        && info.original_author() == Some(&row.changed_by)
}
