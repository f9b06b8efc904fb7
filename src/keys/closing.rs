//! Closing of former journal and authority keys: the chain heads that name the pages written before.

use crate::error::{Error, Result};
use crate::format::storage_keys::ChainHead;

/// The maximum number of chain heads of one closing.
pub const HEADS_MAX: usize = 64;

/// The state of a former journal key and of the authority key that was active with it.
///
/// Pages under a closed key are believed only if the heads name them, or pages that the heads name.
/// Otherwise, a former insider who kept the keys could still write pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// The keys no longer seal, and their pages are not yet counted.
    Open,
    /// The heads of all chains at the time of the closing that no later page names, at most 64.
    Closed(Vec<ChainHead>),
}

impl Closing {
    /// Validates the decoded closings, newest first, against the numbers of former journal keys and
    /// former authority keys.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another count, more than 64 heads, or an open closing behind the
    /// newest one.
    pub(super) fn check(closings: &[Self], journal: usize, authority: usize) -> Result<()> {
        let counted = closings.len() == journal && closings.len() == authority;
        let closed = closings
            .iter()
            .skip(1)
            .all(|closing| *closing != Self::Open);
        let bounded = closings.iter().all(|closing| match closing {
            Self::Open => true,
            Self::Closed(heads) => heads.len() <= HEADS_MAX,
        });
        (counted && closed && bounded)
            .then_some(())
            .ok_or(Error::Malformed)
    }
}
