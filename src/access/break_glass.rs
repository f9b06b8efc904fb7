//! Break-glass: a time limit within which a session passes the policy.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::id::check_reason;

/// The longest time for which glass stays broken.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Access past the policy, until it expires. The journal keeps who asked for it and why.
///
/// The end is counted in the vault's uptime, so setting the machine's clock neither extends nor
/// shortens it. Where the machine sleeps, that time may not count.
pub struct BrokenGlass {
    until: Duration,
}

impl BrokenGlass {
    /// Breaks the glass at `uptime`, for up to 24 hours.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a reason that has not 1 to 255 bytes without control
    /// characters, and for a duration of zero or above 24 hours.
    pub fn new(reason: &str, duration: Duration, uptime: Duration) -> Result<Self> {
        check_reason(reason)?;
        if duration.is_zero() || duration > LONGEST {
            return Err(Error::InvalidMetadata);
        }
        Ok(Self {
            until: uptime.saturating_add(duration),
        })
    }

    /// Whether it still lets its actor through. A session behind closed glass is denied everything:
    /// going on without the mark would hide that this actor came in by breaking it.
    pub fn is_open(&self, uptime: Duration) -> bool {
        uptime < self.until
    }
}

impl fmt::Debug for BrokenGlass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokenGlass(..)")
    }
}
