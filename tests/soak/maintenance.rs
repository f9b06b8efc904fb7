//! Operations on the whole vault and its storage, concurrent with operations on single records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chartlock::storage::archive;
use chartlock::{FileStorage, Vault};

use crate::assert_clean;
use crate::common::Fixed;
use crate::common::content::Random;
use crate::measure::Times;

/// Storage of the vault, and the parent directory of the vault and its copies.
pub(crate) struct Place {
    pub(crate) storage: Arc<FileStorage>,
    pub(crate) copies: PathBuf,
}

impl Place {
    pub(crate) fn directory(&self) -> PathBuf {
        self.copies.join("vault")
    }
}

/// Runs a random maintenance operation of the vault, or none.
///
/// Only two of the eight threads run verifications and re-encryptions, and two others run backups
/// and archives. On every thread, these operations would take most of the time.
pub(crate) fn maintain(
    vault: &Vault,
    place: &Place,
    thread: u64,
    random: &mut Random,
    times: &Times,
) {
    match (random.below(16), thread % 4) {
        (0, 0) => times.of("verify", || assert_clean(vault)),
        (1, 0) => {
            let report = times.of("reencrypt", || vault.reencrypt()).unwrap();
            assert_eq!((report.blocking, report.orphaned), (0, 0));
        }
        (2, 1) => times.of("backup", || back_up(place, thread)),
        (3, 1) => {
            let write = || archive::write(&*place.storage, io::sink());
            assert_eq!(times.of("archive", write).unwrap().unreadable, 0);
        }
        (4, _) => {
            let report = times.of("rotate master", || vault.rotate_master_key());
            assert_eq!(report.unwrap().entries_blocking, 0);
        }
        (5, _) => {
            let report = times.of("collect garbage", || vault.collect_garbage());
            assert_eq!(report.unwrap().charts_passed_over, 0);
        }
        (6, _) => times.of("compact", || place.storage.compact()).unwrap(),
        (7, 1) => times.of("slots", || change_slots(vault)),
        (8, 0) => drop(times.of("key usage", || vault.key_usage()).unwrap()),
        (9..12, _) => {
            let checkpoint = times.of("checkpoint", || vault.checkpoint()).unwrap();
            if thread == 0 && random.below(4) == 0 {
                let verify = || vault.verify(Some(&checkpoint));
                let report = times.of("verify", verify).unwrap();
                assert!(report.is_clean(), "{report:#?}");
            }
        }
        _ => {}
    }
}

fn change_slots(vault: &Vault) {
    let id = vault.add_slot(&Fixed(2)).unwrap();
    vault.replace_slot(id, &Fixed(3)).unwrap();
    vault.remove_slot(id).unwrap();
}

/// Backs up the storage, verifies the copy, and deletes it.
fn back_up(place: &Place, thread: u64) {
    let copy = place.copies.join(format!("copy-{thread}"));
    place.storage.backup(&copy, |_, _| {}).unwrap();
    open_and_verify(&copy);
    std::fs::remove_dir_all(&copy).unwrap();
}

pub(crate) fn open_and_verify(copy: &Path) {
    let vault = Vault::open(FileStorage::open(copy).unwrap(), &Fixed(1)).unwrap();
    assert_clean(&vault);
}
