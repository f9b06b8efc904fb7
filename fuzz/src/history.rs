//! Random history of a vault.

use std::sync::Arc;
use std::time::Duration;

use chartlock::storage::{MemoryStorage, PerOperation, Storage};
use chartlock::{Actor, Purpose, RecordId, Subject, Vault, VaultOptions};

use super::clock::SimulatedClock;
use super::fixed::Fixed;
use super::input::Input;
use super::objects::{Objects, all_objects};

/// The maximum number of operations in one run; longer runs are slow and find no further bugs.
const OPERATIONS: usize = 48;

pub type Disk = Arc<dyn Storage>;

/// Returns an empty storage, transactional or not.
pub fn disk(what: u8) -> Disk {
    match what & 2 {
        0 => Arc::new(MemoryStorage::new()),
        _ => Arc::new(PerOperation::new(MemoryStorage::new())),
    }
}

/// Runs operations until the input ends them. Returns a storage snapshot from each restart of the
/// process.
pub fn run_operations(
    disk: &Disk,
    (options, clock): (&VaultOptions, &SimulatedClock),
    mut vault: Vault,
    input: &mut Input<'_>,
    apply: impl Fn(&Vault, &SimulatedClock, u8, usize),
) -> Vec<Objects> {
    let mut snapshots = Vec::new();
    for turn in 0..OPERATIONS {
        let operation = match input.next() {
            None | Some(0xff) => break,
            Some(operation) => operation,
        };
        if operation & 15 == 15 {
            drop(vault);
            snapshots.push(all_objects(&**disk));
            vault = options.clone().open(Arc::clone(disk), &Fixed(7)).unwrap();
        } else {
            apply(&vault, clock, operation, turn);
        }
    }
    snapshots
}

/// Returns the subject that an operation selects.
pub fn subject_of(operation: u8) -> Subject {
    Subject::patient(["MRN-1", "é", "MRN-3", "MRN-4"][usize::from(operation >> 4 & 3)]).unwrap()
}

/// Returns the record that an operation selects.
pub fn record_of(operation: u8) -> RecordId {
    let name = ["Observation/bp", "n"][usize::from(operation >> 6 & 1)];
    RecordId::new(subject_of(operation), name).unwrap()
}

/// Runs one operation. The vault may refuse the operation, which then changes nothing.
pub fn apply(vault: &Vault, clock: &SimulatedClock, operation: u8, turn: usize) {
    let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
    let subject = subject_of(operation);
    let id = record_of(operation);
    let content = turn.to_le_bytes();
    let _ = match operation & 15 {
        0 => vault.rotate_master_key().map(drop),
        1 => vault.rotate_subject_key(&subject).map(drop),
        2 => vault.reencrypt_subject(&subject).map(drop),
        3 => session.erase_subject(&subject, "asked for").map(drop),
        4 => session.reopen_chart(&subject),
        5 => session.retract(&id).map(drop),
        6 => vault.checkpoint().map(drop),
        7 => session.get(&id).map(drop),
        8 => vault.collect_garbage().map(drop),
        9 => session.put(&id, &[7; 70_000]).map(drop),
        10 => session.expunge(&id, "asked for").map(drop),
        // Choose a time below or above the lifetime of cached entries. The longest time also
        // exceeds the upload timeout.
        11 => {
            let seconds = [1, 61, 3600, 8 * 24 * 3600][usize::from(operation >> 4 & 3)];
            clock.pass(Duration::from_secs(seconds));
            Ok(())
        }
        _ => session.put(&id, &content).map(drop),
    };
}
