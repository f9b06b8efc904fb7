//! Sealing a version under a patient's active key.

use crate::crypto::{DataKey, Place, Suite};
use crate::envelope::{self, Address, Body, Meta};
use crate::error::Result;
use crate::keys::wrap;
use crate::vault::entries::Held;

/// A version to be sealed.
pub(in crate::vault) struct Draft<'a> {
    pub(in crate::vault) suite: Suite,
    pub(in crate::vault) version: u64,
    pub(in crate::vault) place: Place,
    pub(in crate::vault) meta: &'a Meta,
    pub(in crate::vault) body: Body<'a>,
}

impl Draft<'_> {
    /// The value, its data key wrapped under the entry's active patient key.
    pub(in crate::vault) fn seal(
        self,
        held: &Held,
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
        let patient = held.chart()?.active_key();
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
