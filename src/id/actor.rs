//! Persons and systems that access records.

use std::fmt;

use crate::error::{InputField, Result};
use crate::id::bounds::{check_actor_part, check_visible};

/// Person or system that accesses records, identified by the name that the app uses.
///
/// A name has 1 to 255 bytes without control characters and hidden characters, because these
/// could make two actors look the same in a report. The journal stores the name, but `Debug`
/// does not show the name. `Display` does.
///
/// ```
/// # use chartlock::Actor;
/// assert_eq!(Actor::new("dr.garcia")?.name(), "dr.garcia");
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Actor(Box<str>);

impl Actor {
    /// Creates an actor.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when the name does not have 1 to 255 bytes, contains no visible
    /// character, contains control characters, or one of U+061C, U+200B to U+200F, U+2028 to U+202E, U+2060 to
    /// U+206F, and U+FEFF.
    pub fn new(name: &str) -> Result<Self> {
        check_actor_part(name, InputField::Actor)?;
        check_visible(name, InputField::Actor)?;
        Ok(Self(name.into()))
    }

    /// Returns the name that the app supplied.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Actor(..)")
    }
}
