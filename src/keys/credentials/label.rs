//! Labels of slots, which name the credential for the people who manage a vault.

use std::fmt;

use crate::crypto::SlotSecret;
use crate::error::{Error, InputFault, InputField, Result};
use crate::id::bounds::check_text;
use crate::keys::credentials::credential::{Credential, SlotContext};

/// Maximum length of a label, in bytes.
pub(in crate::keys) const LABEL_MAX: usize = InputField::SlotLabel.max();

/// A label for a slot, such as the name of the person who has the credential: 1 to 64 bytes without
/// control characters.
///
/// ```
/// # use chartlock::keys::SlotLabel;
/// let label = SlotLabel::new("Dr. Garcia, key file")?;
/// assert_eq!(label.text(), "Dr. Garcia, key file");
/// assert!(SlotLabel::new("two\nlines").is_err());
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotLabel {
    pub(in crate::keys) length: u8,
    bytes: [u8; LABEL_MAX],
}

impl SlotLabel {
    /// Creates a label.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] if the text is empty, has more than 64 bytes or contains control
    /// characters.
    pub fn new(text: &str) -> Result<Self> {
        check_text(text, InputField::SlotLabel)?;
        Self::of(text).ok_or(Error::invalid_metadata(
            InputField::SlotLabel,
            InputFault::TooLong { length: text.len() },
        ))
    }

    pub(in crate::keys) fn of(text: &str) -> Option<Self> {
        let mut bytes = [0; LABEL_MAX];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        let length = u8::try_from(text.len()).ok()?;
        let is_plain = !text.chars().any(char::is_control);
        is_plain.then_some(Self { length, bytes })
    }

    /// Returns the text of the label.
    pub fn text(&self) -> &str {
        let bytes = self.bytes.get(..self.length.into()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// A credential with a label for its slot.
///
/// Pass it in place of the credential to [`Vault::create`](crate::Vault::create),
/// [`Vault::add_slot`](crate::Vault::add_slot),
/// [`Vault::add_auditor_slot`](crate::Vault::add_auditor_slot) or
/// [`Vault::replace_slot`](crate::Vault::replace_slot). Elsewhere, it acts as the credential does.
///
/// ```
/// # use chartlock::{*, keys::{Labelled, Passphrase, SlotLabel}};
/// # let vault = Vault::create(MemoryStorage::new(), &Passphrase::new("correct horse battery staple"))?;
/// let spare = Passphrase::new("what we remember this year");
/// let id = vault.add_slot(&Labelled::new(&spare, SlotLabel::new("safe, 2nd floor")?))?;
/// let slots = vault.slots()?;
/// let slot = slots.iter().find(|slot| slot.id == id).ok_or("just added")?;
/// assert_eq!(slot.label(), Some("safe, 2nd floor"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Labelled<'c> {
    credential: &'c dyn Credential,
    label: SlotLabel,
}

impl<'c> Labelled<'c> {
    /// Adds a label to a credential.
    pub fn new(credential: &'c dyn Credential, label: SlotLabel) -> Self {
        Self { credential, label }
    }
}

impl Credential for Labelled<'_> {
    fn kind(&self) -> u16 {
        self.credential.kind()
    }

    fn name(&self) -> &str {
        self.credential.name()
    }

    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        self.credential.enrol(context)
    }

    fn secret(&self, parameters: &[u8], context: &SlotContext) -> Result<Option<SlotSecret>> {
        self.credential.secret(parameters, context)
    }

    fn label(&self) -> Option<SlotLabel> {
        Some(self.label)
    }
}

impl fmt::Debug for SlotLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotLabel(..)")
    }
}

impl serde::Serialize for SlotLabel {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}
