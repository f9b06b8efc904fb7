//! Iterator over all records of a chart, one page at a time.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::journal::Operation;
use crate::records::document::Record;
use crate::records::list::ChartWalk;
use crate::session::Session;
use crate::session::guard::AuditTarget;
use crate::storage::ScanItem;
use crate::vault::Vault;

/// Iterator over the current records of a subject, with content; created by `Session::get_all`.
///
/// Records are returned in unspecified order. A record is opened, checked against the policy and
/// journaled when the iterator reaches it. The iterator may or may not return records that are
/// written while it runs.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// for record in session.get_all(&Subject::patient("MRN-1042")?)? {
///     let record = record?;
///     assert_eq!((record.info().name(), &record[..]), ("Observation/bp", &b"{}"[..]));
/// }
/// # Ok::<(), Error>(())
/// ```
pub struct Contents {
    session: Session,
    /// `None` for an unknown subject, and after the last record.
    chart: Option<ChartWalk>,
    /// Fetched values that are not opened yet.
    fetched: VecDeque<ScanItem>,
}

impl Contents {
    pub(crate) fn new(session: Session, chart: Option<ChartWalk>) -> Self {
        Self {
            session,
            chart,
            fetched: VecDeque::new(),
        }
    }

    fn end(&mut self) {
        self.chart = None;
        self.fetched.clear();
    }

    /// Returns the next record that is not retracted. An error of one record does not end the
    /// iterator.
    fn advance(&mut self) -> Result<Option<Record>> {
        let Some(chart) = &mut self.chart else {
            return Ok(None);
        };
        loop {
            let Some(entry) = self.fetched.pop_front() else {
                if chart.has_ended() {
                    self.end();
                    return Ok(None);
                }
                self.fetched = chart.page().inspect_err(|_| chart.end())?.into();
                continue;
            };
            let opened = chart.open(entry, Vault::open_unnamed).inspect_err(|error| {
                let act = self.session.act(Operation::Read, "");
                self.session
                    .failed(&act, AuditTarget::Subject(chart.subject()), error);
            });
            if let Some(record) = opened? {
                return self.session.release(chart.subject(), record).map(Some);
            }
        }
    }
}

impl Iterator for Contents {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chart.as_ref()?;
        let next = match self.session.vault.header() {
            Ok(_) => self.advance(),
            Err(error) => Err(error),
        };
        if let Err(Error::Locked | Error::Erased | Error::Journal(_)) = &next {
            self.end();
        }
        next.transpose()
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents(..)")
    }
}
