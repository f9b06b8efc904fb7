//! Objects that the storage cannot read. Operations skip and report such an object, or return an
//! error. No operation treats the object as absent. Only erasure and expunge delete such objects or
//! destroy their keys.

mod archives;
#[cfg(feature = "file")]
mod files;
mod journal;
mod lifecycle;
mod reads;
mod rotations;
mod unreadable;
mod verification;

use std::sync::Arc;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::{RecordId, Session, Vault, VaultOptions};

use crate::common::Fixed;
use crate::raw;
use crate::stage::{Stage, content, record, session_on};
use unreadable::Unreadable;

const PATIENTS: [&str; 2] = ["MRN-1", "MRN-2"];
const NAMES: [&str; 3] = ["Allergy/1", "CT/1", "Observation/1"];

/// Vault on a storage that can make objects unreadable. Two patients have the same records: one with
/// three versions, one with content in segments, and one small record.
struct Scene<'a> {
    stage: &'a Stage,
    storage: Arc<Unreadable>,
    vault: Vault,
}

impl<'a> Scene<'a> {
    fn new(stage: &'a Stage) -> Self {
        Self::with(stage, stage.options())
    }

    fn with(stage: &'a Stage, options: VaultOptions) -> Self {
        let storage = Arc::new(Unreadable::new(stage.shared()));
        let vault = options.create(Arc::clone(&storage), &Fixed(1)).unwrap();
        let session = session_on(&vault);
        for patient in PATIENTS {
            for version in 1..=3_u8 {
                let id = record(patient, NAMES[0]);
                session.put(&id, &[version; 40]).unwrap();
            }
            let large = content(1, INLINE_MAX + 1);
            session.put(&record(patient, NAMES[1]), &large).unwrap();
            session.put(&record(patient, NAMES[2]), b"120/80").unwrap();
        }
        drop(session);
        Self {
            stage,
            storage,
            vault,
        }
    }

    /// Opens the vault again, with empty caches.
    fn open(&self) -> Vault {
        let options = self.stage.options();
        options.open(Arc::clone(&self.storage), &Fixed(1)).unwrap()
    }

    fn session(&self) -> Session {
        session_on(&self.vault)
    }

    /// Returns the keys of the first patient's objects of a class, in order.
    fn keys(&self, class: u8) -> Vec<Vec<u8>> {
        let keys = raw::objects_of(&self.stage.storage, &[class]).into_keys();
        keys.filter(|key| raw::belongs_to(self.stage, key, PATIENTS[0]))
            .collect()
    }

    /// Returns the key of the first patient's record that is stored in segments.
    fn segmented(&self) -> Vec<u8> {
        let mut objects = raw::objects_of(&self.stage.storage, b"r").into_iter();
        let is_segmented = |(key, value): &(Vec<u8>, Vec<u8>)| {
            value[2] == 2 && raw::belongs_to(self.stage, key, PATIENTS[0])
        };
        objects.find(|object| is_segmented(object)).unwrap().0
    }

    fn damage(&self, key: &Vec<u8>) {
        self.storage.damage([key]);
    }

    fn repair(&self) {
        self.storage.damage([]);
    }

    /// Makes all objects readable, and asserts that a newly opened vault is clean and returns all
    /// records of both patients.
    #[track_caller]
    fn assert_whole(&self) {
        self.repair();
        let vault = self.open();
        assert!(vault.verify(None).unwrap().is_clean());
        for id in ids() {
            assert!(session_on(&vault).get(&id).unwrap().is_some());
        }
    }
}

fn ids() -> Vec<RecordId> {
    let ids = |patient| NAMES.map(|name| record(patient, name));
    PATIENTS.into_iter().flat_map(ids).collect()
}
