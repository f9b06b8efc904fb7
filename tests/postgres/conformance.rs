//! Tests of the storage contract, with each way of sending statements.

use chartlock::storage::{Isolation, PostgresOptions, conformance};

use crate::common::postgres_server;

fn assert_conforms(options: impl Fn(PostgresOptions) -> PostgresOptions) {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let make = || {
        let options = options(server.options());
        options.migrate().unwrap();
        options.open().unwrap()
    };
    let report = conformance::check(make).unwrap();
    assert!(report.transactional);
    let options = options(server.options());
    options.migrate().unwrap();
    conformance::check_reopening(|| options.open().unwrap()).unwrap();
}

#[test]
fn named_statements_conform() {
    assert_conforms(|options| options);
}

#[test]
fn unnamed_statements_conform() {
    assert_conforms(PostgresOptions::unnamed_statements);
}

#[test]
fn serializable_transactions_conform() {
    assert_conforms(|options| options.isolation(Isolation::Serializable));
}
