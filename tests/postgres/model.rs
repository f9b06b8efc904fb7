//! Comparison with the storage in memory.

use chartlock::storage::{
    CommitError, Committed, Expect, MemoryStorage, Operation, Storage, Stored, Transaction,
};

use crate::common::postgres_server;

/// Random transactions have the results that they have in memory, except for the values of revisions.
#[test]
fn random_transactions_are_as_in_memory() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let (storage, model) = (server.storage(), MemoryStorage::new());
    let keys: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..3000 {
        let (here, there) = (storage.read(&keys).unwrap(), model.read(&keys).unwrap());
        let mut both = [Vec::new(), Vec::new()];
        for _ in 0..=random(4) {
            let place = usize::try_from(random(4)).unwrap();
            let key = keys[place].to_vec();
            let (kind, expect) = (random(4), random(3));
            for (operations, stored) in both.iter_mut().zip([&here, &there]) {
                let expect = match (expect, &stored[place]) {
                    (0, _) => Expect::Any,
                    (1, Some(stored)) => Expect::Unchanged(stored.revision.clone()),
                    _ => Expect::Absent,
                };
                let key = key.clone();
                let is_changed = operations.iter().any(|it: &Operation| {
                    it.key() == key && !matches!(it, Operation::Check { .. })
                });
                operations.push(match kind {
                    0 | 1 if !is_changed => Operation::Put {
                        key,
                        value: [round as u8].into(),
                        expect,
                        destroying: false,
                    },
                    2 if !is_changed => Operation::Delete { key },
                    _ => Operation::Check { key, expect },
                });
            }
        }
        let [first, second] = both.map(Transaction::from_iter);
        let results = (
            storage.commit(std::slice::from_ref(&first)).remove(0),
            model.commit(&[second]).remove(0),
        );
        match &results {
            (Ok(here), Ok(there)) => {
                let shape =
                    |it: &Committed| it.revisions.iter().map(Option::is_some).collect::<Vec<_>>();
                assert_eq!(shape(here), shape(there), "{first:?}");
            }
            (Err(CommitError::Conflict { .. }), Err(CommitError::Conflict { .. })) => {}
            _ => panic!("{results:?} {first:?}"),
        }
        let (here, there) = (storage.read(&keys).unwrap(), model.read(&keys).unwrap());
        let values = |it: Vec<Option<Stored>>| {
            it.into_iter()
                .map(|it| it.map(|it| it.value))
                .collect::<Vec<_>>()
        };
        assert_eq!(values(here), values(there), "{first:?}");
    }
}
