//! Reason for an operation.

use std::fmt;

use crate::error::{InputField, Result};
use crate::id::bounds::check_shown;

/// Reason for an operation, as the app states it: 1 to 255 bytes without control characters. Characters
/// that hide, reorder or break lines of a shown text, such as U+202E and U+2028, are also refused.
///
/// The journal records the reason and never interprets it. `Debug` hides the text.
///
/// ```
/// # use chartlock::access::Reason;
/// let reason = Reason::new("the patient asked, ticket 4711")?;
/// assert_eq!(reason.text(), "the patient asked, ticket 4711");
/// assert!(Reason::new("two\nlines").is_err());
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reason(Box<str>);

impl Reason {
    /// Creates a reason.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`](crate::Error::InvalidMetadata) when the text is empty, exceeds 255 bytes or
    /// contains control characters, or one of U+061C, U+200B, U+200E, U+200F, U+2028 to U+202E, U+2060 to U+206F,
    /// and U+FEFF.
    pub fn new(text: &str) -> Result<Self> {
        check_shown(text, InputField::Reason)?;
        Ok(Self(text.into()))
    }

    /// Returns the text that the app supplied.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reason(..)")
    }
}
