//! Archives of a storage with unreadable objects and of a vault in use, and their journal entries.

use std::io::{self, Cursor, Write};
use std::sync::Arc;

use chartlock::audit::AuditItem;
use chartlock::storage::{MemoryStorage, archive};
use chartlock::{Error, Operation, Purpose, Vault};

use super::{PATIENTS, Scene, ids};
use crate::common::{Fixed, session_as};
use crate::raw;
use crate::stage::{Stage, record, session_on};

everywhere!(
    archive_leaves_unreadable_objects_out_and_counts_them,
    restored_archive_contains_the_entry_of_its_beginning,
    archive_during_rotations_is_consistent_or_refused,
    archive_to_failing_output_is_journaled_as_failed,
);

/// Output that calls a function before each write.
struct Busy<F>(Vec<u8>, F);

impl<F: FnMut() -> io::Result<()>> Write for Busy<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.1)()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn archive(vault: &Vault, out: impl Write) -> Result<archive::Report, Error> {
    session_as(vault, "it.office", Purpose::SystemAdministration).archive("nightly", out)
}

/// Returns the operation, outcome and note of each journal entry about a backup.
fn backups(vault: &Vault) -> Vec<(Operation, String, String)> {
    let auditor = session_as(vault, "privacy.office", Purpose::Operations);
    let trail = auditor.audit().unwrap();
    let of_backup = |item: Result<AuditItem, Error>| match item.unwrap() {
        AuditItem::Entry(entry) => match entry.operation {
            Operation::BeginBackup | Operation::EndBackup => Some((
                entry.operation,
                entry.outcome.to_string(),
                entry.note.or(entry.reason).unwrap().into(),
            )),
            _ => None,
        },
        fault => panic!("{fault:?}"),
    };
    trail.entries(..).unwrap().filter_map(of_backup).collect()
}

fn archive_leaves_unreadable_objects_out_and_counts_them(stage: &Stage) {
    let scene = Scene::new(stage);
    for class in *b"prhsj" {
        let key = raw::objects_of(&stage.storage, &[class])
            .pop_first()
            .unwrap()
            .0;
        scene.damage(&key);
        let mut bytes = Vec::new();
        let report = archive::write(&scene.storage, &mut bytes).unwrap();
        assert_eq!(report.unreadable, 1);
        let restored = MemoryStorage::new();
        archive::read(Cursor::new(bytes), &restored).unwrap();
        let mut whole = raw::all_objects(&stage.storage);
        assert!(whole.remove(&key).is_some());
        assert!(raw::all_objects(&restored) == whole);
    }
}

fn restored_archive_contains_the_entry_of_its_beginning(stage: &Stage) {
    let scene = Scene::new(stage);
    let mut bytes = Vec::new();
    let report = archive(&scene.vault, &mut bytes).unwrap();
    let begun = (
        Operation::BeginBackup,
        "done".to_owned(),
        "nightly".to_owned(),
    );
    let [first, (operation, outcome, note)] = &backups(&scene.vault)[..] else {
        panic!("two entries");
    };
    assert_eq!(
        (first, *operation, &outcome[..]),
        (&begun, Operation::EndBackup, "done")
    );
    assert!(note.contains(&chartlock::audit::Hex(report.digest).to_string()));

    let restored = Arc::new(MemoryStorage::new());
    archive::read(Cursor::new(bytes), &restored).unwrap();
    let vault = stage.options().open(restored, &Fixed(1)).unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
    assert_eq!(backups(&vault), [begun]);
    for id in ids() {
        assert!(session_on(&vault).get(&id).unwrap().is_some());
    }
}

/// A vault in use can be archived if its storage has snapshots. Otherwise keys and records of
/// different times could be mixed, so the archive is refused.
fn archive_during_rotations_is_consistent_or_refused(stage: &Stage) {
    let scene = Scene::new(stage);
    let mut writes = 0;
    let mut out = Busy(Vec::new(), || {
        writes += 1;
        scene.vault.rotate_master_key().unwrap();
        let id = record(PATIENTS[0], "Observation/1");
        session_on(&scene.vault).put(&id, b"130/80").unwrap();
        Ok(())
    });
    let archived = archive(&scene.vault, &mut out);
    let bytes = out.0;
    assert!(writes > 1);
    if stage.storage.snapshot().is_err() {
        assert_eq!(archived, Err(Error::Contended));
        return;
    }
    assert_eq!(archived.unwrap().unreadable, 0);
    let restored = Arc::new(MemoryStorage::new());
    archive::read(Cursor::new(bytes), &restored).unwrap();
    let vault = stage.options().open(restored, &Fixed(1)).unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
}

fn archive_to_failing_output_is_journaled_as_failed(stage: &Stage) {
    let scene = Scene::new(stage);
    let failing = || Err(io::ErrorKind::StorageFull.into());
    let archived = archive(&scene.vault, Busy(Vec::new(), failing));
    assert_eq!(archived, Err(Error::Archive(io::ErrorKind::StorageFull)));
    let outcomes: Vec<_> = backups(&scene.vault)
        .into_iter()
        .map(|entry| entry.1)
        .collect();
    assert_eq!(outcomes, ["done", "failed"]);
}
