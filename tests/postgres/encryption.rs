//! Tests of connections with TLS.

use chartlock::storage::{PostgresOptions, StorageError};

use crate::common::postgres_server::Server;
use crate::common::tls::{enable_tls, trusting};

#[test]
fn tls_encrypts_connections_and_checks_the_server() {
    let Some(server) = Server::start() else {
        return;
    };
    let certificate = enable_tls(&server);
    let address = format!("host=localhost hostaddr=127.0.0.1 port={}", server.port);
    let address = format!("{address} user=postgres dbname=postgres sslmode=require");
    let options = PostgresOptions::parse(&address).unwrap();
    let trusting_server = options.clone().tls(trusting(Some(&certificate)));
    trusting_server.migrate().unwrap();
    let storage = trusting_server.open().unwrap();
    crate::preconditions::put_and_delete(&storage);
    let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)
        where ssl and query like '%chartlock%'";
    assert_ne!(server.psql(encrypted).1, "0");
    // Neither an unknown certificate nor a connection without TLS is accepted.
    let wait = std::time::Duration::from_millis(300);
    let distrusting = options.clone().tls(trusting(None)).wait_for_server(wait);
    assert_eq!(distrusting.open().unwrap_err(), StorageError::Unreachable);
    let plain = options.wait_for_server(wait);
    assert_eq!(plain.open().unwrap_err(), StorageError::Unreachable);
}
