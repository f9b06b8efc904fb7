//! Raw access to the objects of a storage, without the vault.

use chartlock::SubjectKind;
use chartlock::internals::crypto::{NameKey, patient_tag};
use chartlock::internals::keys::Chart;
use chartlock::storage::{Operation, Storage};

use crate::common::Fixed;
pub(crate) use crate::common::brute_force::{
    brute_force, entries, header, header_value, key_usage,
};
pub(crate) use crate::common::objects::{Objects, all_objects, delete, objects_of, put, reset};
use crate::stage::Stage;

/// Returns all objects except the journal, which grows with every operation.
pub(crate) fn objects(storage: &dyn Storage) -> Objects {
    let mut objects = all_objects(storage);
    objects.retain(|key, _| !b"aj".contains(&key[0]));
    objects
}

/// Counts the keys of the classes `v`, `p`, `r`, `h`, `s` and `w`.
pub(crate) fn counts(storage: &dyn Storage) -> [usize; 6] {
    b"vprhsw".map(|class| objects_of(storage, &[class]).len())
}

/// Returns the keys and values that operations would put.
pub(crate) fn puts(operations: &[Operation]) -> impl Iterator<Item = (&[u8], &[u8])> {
    operations.iter().filter_map(|operation| match operation {
        Operation::Put { key, value, .. } => Some((&key[..], &value[..])),
        _ => None,
    })
}

/// Tests whether an object belongs to a patient's current chart, or is the patient's entry.
pub(crate) fn belongs_to(stage: &Stage, key: &[u8], identifier: &str) -> bool {
    let value = header_value(&stage.storage);
    let (_, keyring) = header(&value, &Fixed(1));
    let mut names = keyring.name_keys();
    let tag = |key: &NameKey| patient_tag(key, SubjectKind::Patient, identifier).unwrap();
    if key[0] == b'p' {
        return names.any(|name| tag(&name.key) == key[1..]);
    }
    let entries = entries(&stage.storage, &value);
    let mut live = entries.iter().filter_map(|(_, entry)| entry.as_ref().ok());
    live.any(|entry| {
        let chart = entry.chart().map(Chart::id);
        entry.subject().identifier() == identifier && chart.is_some_and(|id| key[1..17] == *id)
    })
}
