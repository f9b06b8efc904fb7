//! Position of a verification, from which another verification can continue.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Position from which a later verification continues, with a short text form.
/// [`Verification::position`] returns it.
///
/// A position contains only the start of a range of random chart ids. Also keep the report of the
/// earlier verification, because a position contains no findings.
///
/// [`Verification::position`]: crate::verify::Verification::position
///
/// ```
/// # use chartlock::*;
/// # use chartlock::verify::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let mut verification = vault.verification();
/// verification.step()?;
/// let kept = verification.position().to_string();
/// let again: VerifyPosition = kept.parse()?;
/// assert_eq!(again, verification.position());
/// let rest = vault.verification().from(again).finish()?;
/// assert!(rest.is_clean());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyPosition {
    /// First two bytes of the next chart ids; `None` if no chart is checked yet.
    pub(super) charts: Option<u32>,
}

/// Position after all charts: the largest two-byte prefix plus one.
pub(super) const END: u32 = 1 << 16;

impl fmt::Display for VerifyPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.charts {
            None => f.write_str("begin"),
            Some(END) => f.write_str("end"),
            Some(charts) => write!(f, "charts-{charts:04x}"),
        }
    }
}

impl FromStr for VerifyPosition {
    type Err = Error;

    /// Parses the text form of a position.
    ///
    /// # Errors
    /// [`Error::BadCheckpoint`] if the text is not a position.
    fn from_str(text: &str) -> Result<Self> {
        let charts = match text.trim() {
            "begin" => None,
            "end" => Some(END),
            text => {
                let digits = text.strip_prefix("charts-").ok_or(Error::BadCheckpoint)?;
                let number = u16::from_str_radix(digits, 16);
                Some(u32::from(number.map_err(|_| Error::BadCheckpoint)?))
            }
        };
        Ok(Self { charts })
    }
}
