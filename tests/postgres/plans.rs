//! The server never reads the whole table for a transaction.

use chartlock::storage::{Expect, Storage, Transaction};

use crate::common::postgres_server;

/// Rows that the table has when the statements that were planned for an empty table run again.
const ROWS: u64 = 5000;

fn key(number: u64) -> [u8; 9] {
    let mut key = [b'r'; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Runs each statement that writes or checks.
fn every_statement(storage: &impl Storage, first: u64) {
    let commit = |transaction| storage.commit(&[transaction]).remove(0).unwrap();
    let [a, b, absent] = [key(first), key(first + 1), key(first + 2)];
    let put =
        Transaction::new()
            .put(&a[..], b"one", Expect::Absent)
            .put(&b[..], b"one", Expect::Any);
    let revision = commit(put).revisions[0].clone().unwrap();
    let replace = Transaction::new()
        .put(&a[..], b"two", Expect::Unchanged(revision))
        .check(&b[..], Expect::Any)
        .check(&absent[..], Expect::Absent);
    let revision = commit(replace).revisions[0].clone().unwrap();
    let check = Transaction::new()
        .check(&a[..], Expect::Unchanged(revision))
        .delete(&b[..]);
    commit(check);
}

#[test]
fn transactions_use_the_index_of_a_table_that_was_empty() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let options = server.options_of("plans");
    options.migrate().unwrap();
    let storage = options.connections(1).open().unwrap();
    // The server plans a statement for good after its fifth run.
    for round in 0..8 {
        every_statement(&storage, 10 * round);
    }
    let fill = (0..ROWS).fold(Transaction::new(), |transaction, number| {
        transaction.put(&key(1_000_000 + number)[..], b"filled", Expect::Absent)
    });
    storage.commit(&[fill]).remove(0).unwrap();
    for round in 0..8 {
        every_statement(&storage, 5_000_000 + 10 * round);
    }
    storage.close().unwrap();
    drop(storage);
    let read = "select n_tup_ins, seq_tup_read from pg_stat_user_tables
        where schemaname = 'plans' and relname = 'object'";
    // The server publishes the counts when the connection ends.
    let counts = loop {
        let (_, counts) = server.psql(read);
        let inserted = counts.split('|').next().unwrap();
        if inserted.parse::<u64>().unwrap() > ROWS {
            break counts;
        }
        std::thread::yield_now();
    };
    let scanned: u64 = counts
        .trim()
        .split('|')
        .next_back()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        scanned < ROWS,
        "{scanned} rows were read by scans of the table"
    );
}
