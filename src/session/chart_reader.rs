//! Iterator over all records of a chart, one page at a time.

use crate::error::{Error, Result};
use crate::records::document::Record;
use crate::records::list::ChartWalk;
use crate::records::page_opener::PageOpener;
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::session::decide::Permission;
use crate::session::handle::HandleGuard;

/// Iterator over the current records of a subject, with content; created by `Session::get_all`.
///
/// Records are returned in unspecified order. A record is checked against the policy and journaled
/// when the iterator reaches it. Threads may decrypt records before the iterator reaches them; drop
/// the iterator to wipe the records that it did not return. The iterator may or may not return
/// records that are written while it runs.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
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
    chart: Option<(ChartWalk, HandleGuard)>,
    /// Fetched records that are not released yet.
    page: PageOpener,
}

impl Contents {
    pub(crate) fn new(
        session: &Session,
        on: AuditTarget<'_>,
        chart: Option<(ChartWalk, Permission)>,
    ) -> Self {
        let guarded =
            chart.map(|(chart, permission)| (chart, HandleGuard::new(session, on, permission)));
        Self {
            session: session.clone(),
            chart: guarded,
            page: PageOpener::default(),
        }
    }

    fn end(&mut self) {
        self.chart = None;
        self.page = PageOpener::default();
    }

    /// Returns the next record that is not retracted. An error of one record does not end the
    /// iterator.
    fn advance(&mut self) -> Result<Option<Record>> {
        let Some((chart, guard)) = &mut self.chart else {
            return Ok(None);
        };
        guard.check()?;
        let (vault, subject) = (&self.session.vault, chart.subject().clone());
        loop {
            let Some(opened) = self.page.take() else {
                if chart.has_ended() {
                    self.end();
                    return Ok(None);
                }
                self.page = chart.opened_page().inspect_err(|_| chart.end())?;
                continue;
            };
            let released = self.session.release(&subject, |permit| {
                chart.finish(opened, |info, source| {
                    permit(&info)?;
                    vault.whole(info, source)
                })
            });
            if let Some(record) = released? {
                return Ok(Some(record));
            }
        }
    }
}

impl Iterator for Contents {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chart.as_ref()?;
        let next = self.advance();
        let is_denied = self.chart.as_ref().is_some_and(|(_, it)| it.is_denied());
        if is_denied || matches!(next, Err(Error::Locked | Error::Erased | Error::Journal(_))) {
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
