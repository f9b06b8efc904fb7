//! Labels and creation times of slots, which an extension of the keyring contains. So only who opens the
//! vault sees them.

use std::collections::BTreeMap;
use std::fmt;

use crate::crypto::SlotSecret;
use crate::error::{Error, Result};
use crate::format::codec::{take, take_slice};
use crate::keys::credential::{Credential, SlotContext};
use crate::keys::slot::SlotInfo;

/// Maximum length of a label, in bytes.
const LABEL_MAX: usize = 64;

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
    length: u8,
    bytes: [u8; LABEL_MAX],
}

impl SlotLabel {
    /// Creates a label.
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] if the text is empty, has more than 64 bytes or contains control
    /// characters.
    pub fn new(text: &str) -> Result<Self> {
        match text {
            "" => Err(Error::InvalidMetadata),
            text => Self::of(text).ok_or(Error::InvalidMetadata),
        }
    }

    fn of(text: &str) -> Option<Self> {
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
/// # let vault = Vault::create(MemoryStorage::new(), &Passphrase::new("correct horse"))?;
/// let spare = Passphrase::new("battery staple");
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

/// Creation time and label of a slot.
#[derive(Clone, Copy)]
pub(super) struct SlotName {
    pub(super) created: i64,
    pub(super) label: Option<SlotLabel>,
}

/// Creation times and labels by slot id.
#[derive(Default)]
pub(super) struct SlotNames(BTreeMap<u16, SlotName>);

impl SlotNames {
    /// Parses the extension.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an entry that ends early, ids that do not strictly ascend, and a label
    /// that is too long, is not UTF-8 or contains control characters.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let mut names = BTreeMap::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let id = u16::from_le_bytes(*take(&mut rest)?);
            let created = i64::from_le_bytes(*take(&mut rest)?);
            let [length] = *take(&mut rest)?;
            let text = take_slice(&mut rest, length.into(), LABEL_MAX)?;
            let text = std::str::from_utf8(text).map_err(|_| Error::Malformed)?;
            let label = SlotLabel::of(text).ok_or(Error::Malformed)?;
            let label = Some(label).filter(|label| label.length > 0);
            if names.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(Error::Malformed);
            }
            names.insert(id, SlotName { created, label });
        }
        Ok(Self(names))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, name) in &self.0 {
            let text = name.label.as_ref().map_or("", SlotLabel::text);
            out.extend(id.to_le_bytes());
            out.extend(name.created.to_le_bytes());
            out.extend(u8::try_from(text.len()));
            out.extend(text.as_bytes());
        }
        out
    }

    /// Adds or replaces the name of a slot. Without a label, the slot keeps the label that it has.
    pub(super) fn set(&mut self, id: u16, created: i64, label: Option<SlotLabel>) {
        let former = self.0.get(&id).and_then(|name| name.label);
        let label = label.or(former);
        self.0.insert(id, SlotName { created, label });
    }

    /// Adds all names of `other`, and replaces those of the same slots.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Removes the names of slots that are not in `slots`.
    pub(super) fn retain(&mut self, slots: &[SlotInfo]) {
        let is_stored = |id: &u16| slots.iter().any(|slot| slot.id == *id);
        self.0.retain(|id, _| is_stored(id));
    }

    pub(super) fn get(&self, id: u16) -> Option<SlotName> {
        self.0.get(&id).copied()
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
