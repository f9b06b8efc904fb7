//! Decision about a version that an import writes: to be written, stored already, or in conflict.

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::envelope::{Head, Meta, Opened};
use crate::records::write::PendingWrite;
use crate::records::write::lookup::WriteContext;
use crate::records::write::next_version::NextVersion;
use crate::vault::Vault;
use crate::vault::entries::Freshness;

impl Vault {
    /// Returns the outcome of an import after the current version of a record; `None` if the version can be
    /// written, or if the job is not an import.
    ///
    /// An imported version follows only a version that an import wrote. Otherwise the app, or another program, has
    /// changed the record since, and the import must not replace that change.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the version cannot follow, or if the stored version differs; the error of a stored
    /// version that does not open.
    pub(super) fn import_outcome(
        &self,
        pending: &mut PendingWrite<'_>,
        context: &WriteContext,
        head: &Head,
        current: &Result<Opened>,
    ) -> Result<Option<NextVersion>> {
        let Some(version) = pending.job.imported_version else {
            return Ok(None);
        };
        let current = current.as_ref().map_err(Clone::clone)?;
        if version > head.version {
            let follows = version == head.version + 1 && current.meta.import_digest().is_some();
            return follows.then_some(None).ok_or(Error::Conflict);
        }
        // On other storage, a stale entry could still open a version whose key is destroyed.
        if pending.freshness == Freshness::Cached && !self.core.store.storage.is_transactional() {
            pending.freshness = Freshness::Fresh;
            return Ok(Some(NextVersion::Retry));
        }
        if version == head.version {
            return same_import(&pending.job.meta, &current.meta).map(Some);
        }
        if current.meta.expunged_up_to() >= Some(version) {
            return Ok(Some(NextVersion::Nothing));
        }
        let name = Some(pending.job.id.name());
        match self.open_earlier(&context.cached, &context.address, name, version) {
            Ok(earlier) => same_import(&pending.job.meta, &earlier.meta).map(Some),
            Err(Error::UnknownPatientKey | Error::HistoryGap)
                if pending.freshness == Freshness::Cached =>
            {
                pending.freshness = Freshness::Fresh;
                Ok(Some(NextVersion::Retry))
            }
            Err(error) => Err(error),
        }
    }
}

/// Compares an imported version with the stored one.
fn same_import(meta: &Meta, stored: &Meta) -> Result<NextVersion> {
    let has_same_content = match (meta.import_digest(), stored.import_digest()) {
        (Some(own), Some(stored)) => crypto::equal(&own, &stored),
        _ => false,
    };
    let is_same = has_same_content
        && meta.original_time() == stored.original_time()
        && meta.original_author() == stored.original_author()
        && meta.content_type == stored.content_type
        && meta.labels == stored.labels
        && meta.is_honeytoken() == stored.is_honeytoken();
    is_same
        .then_some(NextVersion::Nothing)
        .ok_or(Error::Conflict)
}
