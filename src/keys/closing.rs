//! Closing of former journal and authority keys: the chain heads that prove which pages were written
//! before the keys were closed.

use crate::error::{Error, Result};
use crate::format::storage_keys::ChainHead;

/// The maximum number of chain heads of one closing.
pub const HEADS_MAX: usize = 64;

/// The state of a former journal key and of the authority key that was active with it.
///
/// A page under a closed key is believed only if the heads name it, directly or through other pages.
/// Otherwise, a former insider who kept the keys could still write pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// A rotation replaced the keys, but did not yet store the chain heads. All pages under the keys
    /// are still believed.
    Open,
    /// The last pages under the keys that no other page names, at most 64.
    Closed(Vec<ChainHead>),
}

impl Closing {
    /// Validates the decoded closings, newest first. `journal` and `authority` are the counts of former
    /// journal keys and former authority keys.
    ///
    /// # Errors
    /// [`Error::Malformed`] for another count of closings, more than 64 heads, or an open closing that
    /// is not the newest one.
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
