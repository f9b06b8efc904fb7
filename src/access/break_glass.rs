//! Broken glass: for a while, somebody passes the policy.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::id::{Actor, check_reason};

/// The longest time for which glass stays broken.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Who broke the glass, why, and until when.
///
/// The end is counted in the vault's uptime, so setting the machine's clock neither extends nor
/// shortens it. Where the machine sleeps, that time may not count.
pub struct BrokenGlass {
    actor: Actor,
    reason: Box<str>,
    until: Duration,
}

impl BrokenGlass {
    /// Breaks the glass at `uptime`, for up to 24 hours.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] for a reason that has not 1 to 255 bytes without control
    /// characters, and for a duration of zero or above 24 hours.
    pub fn new(actor: Actor, reason: &str, duration: Duration, uptime: Duration) -> Result<Self> {
        check_reason(reason)?;
        if duration.is_zero() || duration > LONGEST {
            return Err(Error::InvalidMetadata);
        }
        Ok(Self {
            actor,
            reason: reason.into(),
            until: uptime.saturating_add(duration),
        })
    }

    /// Who broke it.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Why, in the actor's words.
    pub fn reason(&self) -> &str {
        &self.reason
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
