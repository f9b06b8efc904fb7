//! Tests of connections with TLS.

use std::time::Duration;

use chartlock::storage::{Expect, Storage, StorageError, Transaction};

use crate::common::s3_server::{S3Server, options_at};
use crate::common::tls::trusting;

#[test]
fn tls_encrypts_connections_and_checks_the_server() {
    let Some((_server, port, certificate)) = S3Server::start_seaweed_with_tls() else {
        return;
    };
    let options = options_at(port, "tls").endpoint(&format!("https://localhost:{port}"));
    let mut config = trusting(Some(&certificate));
    // Protocols that the app has chosen for other clients.
    config.alpn_protocols = vec![b"h2".to_vec()];
    let storage = options.clone().tls(config).open().unwrap();
    let put = Transaction::new().put(b"r1", vec![1; 2 << 20], Expect::Absent);
    assert!(storage.commit(&[put])[0].is_ok());
    assert!(storage.read(&[b"r1"]).unwrap()[0].is_some());
    // Neither an unknown certificate nor a connection without TLS is accepted.
    let options = options.wait_for_server(Duration::from_millis(300));
    let distrusting = options.clone().tls(trusting(None));
    assert_eq!(distrusting.open().unwrap_err(), StorageError::Unreachable);
    assert_eq!(options.open().unwrap_err(), StorageError::InvalidOptions);
}
