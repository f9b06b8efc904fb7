//! Break-glass: time-limited access of a session that bypasses the policy.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::id::check_reason;

/// The longest duration of break-glass access.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Break-glass access of a session, valid until it expires. The journal records the actor and the
/// reason.
///
/// The expiry is measured in the vault's uptime, so setting the machine's clock neither extends nor
/// shortens the access. On some platforms, uptime excludes the time that the machine sleeps.
pub struct BrokenGlass {
    until: Duration,
}

impl BrokenGlass {
    /// Begins break-glass access at `uptime`, for up to 24 hours.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] if `reason` is empty, exceeds 255 bytes or contains control
    /// characters, or if `duration` is zero or above 24 hours.
    pub fn new(reason: &str, duration: Duration, uptime: Duration) -> Result<Self> {
        check_reason(reason)?;
        if duration.is_zero() || duration > LONGEST {
            return Err(Error::InvalidMetadata);
        }
        Ok(Self {
            until: uptime.saturating_add(duration),
        })
    }

    /// Returns `true` if the access has not expired.
    ///
    /// After expiry, the guard denies every operation. Otherwise the session would continue without
    /// the break-glass mark, and the journal would not show how the actor gained access.
    pub fn is_open(&self, uptime: Duration) -> bool {
        uptime < self.until
    }
}

impl fmt::Debug for BrokenGlass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokenGlass(..)")
    }
}
