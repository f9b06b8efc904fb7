//! Labels and creation times of slots, which an extension of the keyring contains. So only who opens the
//! vault sees them.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::codec::{take, take_slice};
use crate::keys::credentials::label::{LABEL_MAX, SlotLabel};
use crate::keys::slot::SlotInfo;

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
