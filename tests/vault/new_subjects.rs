//! First records of a subject, with a fault at each storage step and with concurrent writers.

use std::sync::Arc;
use std::thread;

use chartlock::{Document, Error};

use crate::raw;
use crate::stage::{ACTIONS, Stage, action_at, record, session_on, subject};

everywhere!(
    first_records_with_fault_at_any_step_are_written_once,
    concurrent_first_puts_share_one_chart,
);

/// More steps than the first put of a subject takes on any storage.
const STEPS: u64 = 12;

/// No fault may cause a second version of a record or a second patient entry.
fn first_records_with_fault_at_any_step_are_written_once(stage: &Stage) {
    drop(stage.create());
    let empty = raw::all_objects(&stage.storage);
    let ids = [record("MRN-1", "a"), record("MRN-1", "b")];
    for action in ACTIONS {
        for step in 0..STEPS {
            raw::reset(&stage.storage, &empty);
            let (vault, _) = stage.open_with(action_at(step, action));
            let documents = ids.iter().map(|id| (id, Document::from(b"content")));
            let puts = session_on(&vault).put_many(documents).unwrap();
            drop(vault);
            let vault = stage.open();
            for (id, put) in ids.iter().zip(puts) {
                let versions = session_on(&vault).history(id).unwrap().len();
                match (put, action) {
                    (Ok(version), _) => assert_eq!((version, versions), (1, 1)),
                    (Err(Error::Storage(_) | Error::CommitUnknown), _) => assert!(versions <= 1),
                    (Err(error), _) => panic!("{action:?} at {step}: {error:?}"),
                }
            }
            let [_, entries, current, ..] = raw::counts(&stage.storage);
            assert!(entries <= 1 && current <= 2);
            let put = session_on(&vault).put(&ids[0], b"later");
            assert!(
                put.is_ok_and(|version| version <= 2),
                "{action:?} at {step}"
            );
            let report = vault.verify(None).unwrap();
            assert!(report.is_clean(), "{action:?} at {step}: {report:?}");
        }
    }
}

fn concurrent_first_puts_share_one_chart(stage: &Stage) {
    drop(stage.create());
    let vault = Arc::new(stage.open());
    let id = record("MRN-1", "shared");
    let mut versions: Vec<u64> = thread::scope(|scope| {
        let put = || session_on(&vault).put(&id, b"content").unwrap();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(put)).collect();
        let versions = threads.into_iter().map(|thread| thread.join().unwrap());
        versions.collect()
    });
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3, 4]);
    assert_eq!(raw::counts(&stage.storage)[1..4], [1, 1, 3]);
    let listed = session_on(&vault).list(&subject("MRN-1")).unwrap();
    assert_eq!(listed.count(), 1);
    assert!(vault.verify(None).unwrap().is_clean());
}
