//! Sealing of versions under the subject's active patient key.

use crate::crypto::{CipherSuite, DataKey, Place};
use crate::error::Result;
use crate::format::envelope::{self, Address, Body, Meta};
use crate::keys::wrap;
use crate::vault::entries::CachedEntry;

/// The input for sealing a version.
pub(crate) struct VersionDraft<'a> {
    pub(crate) suite: CipherSuite,
    pub(crate) version: u64,
    pub(crate) place: Place,
    pub(crate) meta: &'a Meta,
    pub(crate) body: Body<'a>,
}

impl VersionDraft<'_> {
    /// Returns the sealed value, with its data key wrapped under the active patient key of the
    /// patient entry.
    pub(crate) fn seal(
        self,
        cached: &CachedEntry,
        address: &Address,
        key: DataKey,
    ) -> Result<Vec<u8>> {
        let Self {
            suite,
            version,
            place,
            meta,
            body,
        } = self;
        let patient = cached.chart()?.active_key();
        envelope::seal(
            suite,
            address,
            version,
            meta,
            body,
            key,
            |commitment, key| {
                let number = patient.number;
                let wrapped = wrap::wrap(suite, &patient.key, place, number, commitment, key)?;
                Ok((number, wrapped))
            },
        )
    }
}
