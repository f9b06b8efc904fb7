//! Name of a key on a token: its label, its id, or both.

use std::fmt;

use cryptoki::object::Attribute;

use crate::error::{Error, Result};
use crate::keys::credentials::pkcs11::pkcs11_uri::Pkcs11Uri;

/// The maximum length of a label or an id, in bytes.
const MAX: usize = 255;

/// The name of a key on a token: its label (`CKA_LABEL`), its id (`CKA_ID`), or both.
///
/// The app names the key. The vault never stores the name, and never takes it from a slot, so an
/// attacker who can write to the storage cannot select another key.
///
/// ```
/// # use chartlock::keys::Pkcs11Key;
/// let key = Pkcs11Key::label("chartlock")?;
/// let key = key.with_id(&[0x01, 0x2c])?;
/// assert_eq!(format!("{key:?}"), "Pkcs11Key(..)");
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pkcs11Key {
    label: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
}

impl Pkcs11Key {
    /// Names a key by its label of 1 to 255 bytes.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] for any other length.
    pub fn label(label: &str) -> Result<Self> {
        Self::new(Some(label.as_bytes()), None)
    }

    /// Names a key by its id of 1 to 255 bytes.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] for any other length.
    pub fn id(id: &[u8]) -> Result<Self> {
        Self::new(None, Some(id))
    }

    /// Adds an id of 1 to 255 bytes, so that only a key with both matches.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] for any other length.
    pub fn with_id(self, id: &[u8]) -> Result<Self> {
        Self::new(self.label.as_deref(), Some(id))
    }

    /// Takes the name from the attributes `object` and `id` of a PKCS#11 URI (RFC 7512).
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] for a URI with neither attribute, or with an attribute that
    /// [`Pkcs11Options::from_uri`](crate::keys::Pkcs11Options::from_uri) refuses.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let uri = Pkcs11Uri::parse(uri)?;
        Self::new(uri.object.as_deref(), uri.id.as_deref())
    }

    fn new(label: Option<&[u8]>, id: Option<&[u8]>) -> Result<Self> {
        let mut parts = [label, id].into_iter().flatten().peekable();
        let is_name = parts.peek().is_some() && parts.all(|part| (1..=MAX).contains(&part.len()));
        is_name
            .then(|| Self {
                label: label.map(<[u8]>::to_vec),
                id: id.map(<[u8]>::to_vec),
            })
            .ok_or(Error::InvalidCredentialSetting)
    }

    /// Returns the label and the id as attributes.
    pub(super) fn attributes(&self) -> Vec<Attribute> {
        let label = self.label.clone().map(Attribute::Label);
        label
            .into_iter()
            .chain(self.id.clone().map(Attribute::Id))
            .collect()
    }
}

impl fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pkcs11Key(..)")
    }
}
