//! Tests of the storage contract, over each server and behind the router.

use chartlock::storage::{FileStorage, RouterStorage, conformance};
use tempfile::TempDir;

use crate::common::s3_server::{self, S3Server};
use crate::common::{postgres_server, scratch};

/// Returns the servers to test, in the short form only SeaweedFS, because moto takes a minute of processor time.
fn servers() -> impl Iterator<Item = &'static S3Server> {
    let long = std::env::var_os("CHARTLOCK_LONG").is_some();
    let moto = long.then(s3_server::moto).flatten();
    s3_server::seaweed().into_iter().chain(moto)
}

#[test]
fn object_storage_conforms() {
    for server in servers() {
        let report = conformance::check(|| server.storage()).unwrap();
        assert!(!report.transactional);
        let options = server.options();
        conformance::check_reopening(|| options.clone().open().unwrap()).unwrap();
    }
}

#[test]
fn router_over_file_and_object_storage_conforms() {
    for server in servers() {
        let directories: Vec<TempDir> = (0..100).map(|_| scratch::quick()).collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let make = || {
            let next = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let file = FileStorage::open(directories[next].path().join("vault")).unwrap();
            RouterStorage::new(server.storage(), file)
        };
        assert!(conformance::check(make).unwrap().transactional);
    }
}

#[test]
fn router_over_postgres_and_object_storage_conforms() {
    let Some(postgres) = postgres_server::shared() else {
        return;
    };
    for server in servers() {
        let make = || RouterStorage::new(server.storage(), postgres.storage());
        assert!(conformance::check(make).unwrap().transactional);
    }
}
