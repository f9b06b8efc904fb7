//! Reads a subject's whole chart, one page of records at a time.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::journal::Operation;
use crate::records::document::Record;
use crate::records::list::ChartWalk;
use crate::session::Session;
use crate::session::guard::AuditTarget;
use crate::storage::ScanItem;
use crate::vault::Vault;

/// The current records of a subject with their content; made by `Session::get_all`.
///
/// Records come in an order that tells nothing. Each is opened, put to the policy with its labels and
/// noted in the journal when it is asked for, not before. What is written while the walk goes on may or
/// may not be seen.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// for record in chart.get_all(&Subject::patient("MRN-1042")?)? {
///     let record = record?;
///     assert_eq!((record.info().name(), &record[..]), ("Observation/bp", &b"{}"[..]));
/// }
/// # Ok::<(), Error>(())
/// ```
pub struct Contents {
    session: Session,
    /// `None` for a subject that was never seen, and once there is nothing more.
    chart: Option<ChartWalk>,
    /// Fetched, and still sealed.
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

    /// The next record that is no retraction; an error of one record leaves the walk where it is.
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
