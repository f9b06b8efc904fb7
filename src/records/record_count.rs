//! Count of the records of a chart.

use serde::Serialize;

use crate::error::Result;
use crate::format::envelope::Kind;
use crate::id::Subject;
use crate::records::list_page::is_of_record;
use crate::records::read::authentic;
use crate::vault::Vault;

/// Number of records of a chart; from [`Session::count_records`](crate::Session::count_records).
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// for name in ["Observation/bp", "Observation/hr"] {
///     session.put(&RecordId::patient("MRN-1042", name)?, b"{}")?;
/// }
/// session.retract(&RecordId::patient("MRN-1042", "Observation/hr")?)?;
/// let count = session.count_records(&Subject::patient("MRN-1042")?)?;
/// assert_eq!((count.current, count.retracted, count.unreadable), (1, 1, 0));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct RecordCount {
    /// Number of records that a list returns: those that are not retracted.
    pub current: u64,
    /// Number of records that were retracted or expunged.
    pub retracted: u64,
    /// Number of records that do not authenticate or cannot be read. A range of objects that the storage
    /// cannot read counts as one.
    pub unreadable: u64,
}

impl Vault {
    /// Counts the records of a subject; `None` if the vault has no entry for the subject.
    pub(crate) fn count_records(&self, subject: &Subject) -> Result<Option<RecordCount>> {
        let Some(mut chart) = self.chart_of(subject)? else {
            return Ok(None);
        };
        chart.scan_heads();
        let mut count = RecordCount::default();
        while !chart.has_ended() {
            self.header()?;
            for item in chart.page()? {
                // Authenticate the head, because its kind byte alone could hide a record.
                let kind = chart.open(item, |_, cached, address, stored| {
                    let (head, _) = authentic(cached, address, &stored.value)?;
                    Ok(Some(head.kind))
                });
                match kind {
                    Ok(Some(Kind::Inline | Kind::Segmented)) => count.current += 1,
                    Ok(Some(Kind::Retraction)) => count.retracted += 1,
                    Ok(None) => {}
                    Err(error) if is_of_record(&error) => count.unreadable += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Some(count))
    }
}
