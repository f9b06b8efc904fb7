//! Soak tests of one vault in PostgreSQL by two processes, with faults of the server and of the network.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chartlock::Vault;
use chartlock::storage::{
    CommitError, Committed, Isolation, PostgresOptions, PostgresStorage, Scan, ScanPage, Snapshot,
    Storage, StorageError, Stored, Transaction,
};
use serde::{Deserialize, Serialize};

use crate::assert_clean;
use crate::common::Fixed;
use crate::common::brute_force::{brute_force, key_usage};
use crate::common::faulty_proxy::FaultyProxy;
use crate::common::postgres_server::{Bouncer, Server};
use crate::maintenance::Place;
use crate::shared::{PROCESSES, work_in};

const ACCESS: &str = "CHARTLOCK_SOAK_ACCESS";
const PROCESS: &str = "CHARTLOCK_SOAK_PROCESS";
const SCHEMA: &str = "soak";

/// Connection settings of the processes.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Access {
    port: u16,
    is_serializable: bool,
    is_unnamed: bool,
    /// `true` if the server cancels statements, which the processes then repeat.
    is_cancelled: bool,
}

impl Access {
    fn to(port: u16) -> Self {
        Self {
            port,
            is_serializable: false,
            is_unnamed: false,
            is_cancelled: false,
        }
    }

    fn options(self) -> PostgresOptions {
        let connection = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            self.port
        );
        let options = PostgresOptions::parse(&connection).unwrap();
        let options = options.schema(SCHEMA).unwrap().connections(6);
        // Faults delay two processes for longer than the default wait.
        let options = options.wait_for_server(Duration::from_secs(60));
        let options = match self.is_serializable {
            true => options.isolation(Isolation::Serializable),
            false => options,
        };
        match self.is_unnamed {
            true => options.unnamed_statements(),
            false => options,
        }
    }
}

/// Runs the test `test` in two child processes, and calls `disturb` repeatedly until both processes end.
fn soak_over(test: &str, access: impl FnOnce(&Server) -> Access, disturb: impl Fn(&Server) + Sync) {
    if let Ok(access) = std::env::var(ACCESS) {
        return work(serde_json::from_str(&access).unwrap());
    }
    let Some(server) = Server::start() else {
        return;
    };
    let direct = Access::to(server.port).options();
    direct.migrate().unwrap();
    drop(Vault::create(direct.open().unwrap(), &Fixed(1)).unwrap());
    let access = access(&server);
    let children: Vec<_> = (0..PROCESSES)
        .map(|process| spawn(test, access, process))
        .collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                disturb(&server);
            }
        });
        let outputs: Vec<_> = children.into_iter().map(Child::wait_with_output).collect();
        is_over.store(true, Ordering::SeqCst);
        for output in outputs {
            let output = output.unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert!(output.status.success(), "{text}");
            println!("{text}");
        }
    });
    let storage = Arc::new(direct.open().unwrap());
    let vault = Vault::open(Arc::clone(&storage), &Fixed(1)).unwrap();
    assert_clean(&vault);
    assert_eq!(key_usage(&vault), brute_force(&*storage));
}

fn spawn(test: &str, access: Access, process: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ACCESS, serde_json::to_string(&access).unwrap())
        .env(PROCESS, process.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn work(access: Access) {
    let process = std::env::var(PROCESS).unwrap().parse().unwrap();
    let open = || access.options().open();
    let mut opened = open();
    while access.is_cancelled && matches!(opened, Err(StorageError::TimedOut)) {
        opened = open();
    }
    let storage = opened.unwrap();
    let storage: Arc<dyn Storage> = match access.is_cancelled {
        true => Arc::new(Repeating(storage)),
        false => Arc::new(storage),
    };
    let files = None;
    work_in(&Place { storage, files }, process);
}

/// Storage wrapper that repeats calls which timed out. A transaction that timed out was not committed; if it
/// had been, its repetition would conflict with it.
#[derive(Debug)]
struct Repeating(PostgresStorage);

impl Repeating {
    fn until_answered<T>(
        &self,
        mut call: impl FnMut(&PostgresStorage) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        for _ in 0..1000 {
            match call(&self.0) {
                Err(StorageError::TimedOut) => {}
                answer => return answer,
            }
        }
        Err(StorageError::TimedOut)
    }
}

impl Storage for Repeating {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.until_answered(|storage| storage.read(keys))
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.until_answered(|storage| storage.scan(scan))
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let commit = |transaction: &Transaction| {
            let timed_out = Err(CommitError::Io(StorageError::TimedOut));
            let once = || self.0.commit(std::slice::from_ref(transaction)).remove(0);
            let mut answers = std::iter::repeat_with(once).take(1000);
            answers
                .find(|answer| *answer != timed_out)
                .unwrap_or(timed_out)
        };
        transactions.iter().map(commit).collect()
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        self.until_answered(|storage| storage.last(prefixes))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        self.until_answered(PostgresStorage::snapshot)
    }
}

fn undisturbed(_: &Server) {
    thread::sleep(Duration::from_millis(50));
}

#[test]
fn soak_over_postgres_stays_clean() {
    let test = "postgres::soak_over_postgres_stays_clean";
    soak_over(test, |server| Access::to(server.port), undisturbed);
}

#[test]
fn soak_with_serializable_transactions_stays_clean() {
    let test = "postgres::soak_with_serializable_transactions_stays_clean";
    let access = |server: &Server| Access {
        is_serializable: true,
        ..Access::to(server.port)
    };
    soak_over(test, access, undisturbed);
}

#[test]
fn soak_through_pgbouncer_stays_clean() {
    let test = "postgres::soak_through_pgbouncer_stays_clean";
    let is_child = std::env::var_os(ACCESS).is_some();
    let directory = tempfile::tempdir().unwrap();
    let mut bouncer = None;
    let access = |server: &Server| {
        let started = Bouncer::start(server.port, Path::new(directory.path()));
        let port = started.port;
        bouncer = Some(started);
        Access {
            is_unnamed: true,
            ..Access::to(port)
        }
    };
    if is_child || Bouncer::is_installed() {
        soak_over(test, access, undisturbed);
    }
}

#[test]
fn soak_with_server_crashes_stays_clean() {
    let test = "postgres::soak_with_server_crashes_stays_clean";
    soak_over(
        test,
        |server| Access::to(server.port),
        |server| {
            thread::sleep(Duration::from_secs(2));
            server.crash();
            server.run();
        },
    );
}

#[test]
fn soak_with_cut_connections_stays_clean() {
    let test = "postgres::soak_with_cut_connections_stays_clean";
    let access = |server: &Server| Access::to(FaultyProxy::cutting(server.port, 23).port);
    soak_over(test, access, undisturbed);
}

#[test]
fn soak_with_slow_network_stays_clean() {
    let test = "postgres::soak_with_slow_network_stays_clean";
    let delay = Duration::from_millis(10);
    let access = |server: &Server| Access::to(FaultyProxy::delaying(server.port, delay).port);
    soak_over(test, access, undisturbed);
}

/// The server cancels statements that take too long, and also other statements at any moment.
#[test]
fn soak_with_cancelled_statements_stays_clean() {
    let test = "postgres::soak_with_cancelled_statements_stays_clean";
    let access = |server: &Server| {
        let sql = "alter role postgres set statement_timeout = 60";
        assert!(server.psql(sql).0);
        Access {
            is_cancelled: true,
            ..Access::to(server.port)
        }
    };
    soak_over(test, access, |server| {
        thread::sleep(Duration::from_millis(50));
        let sql = "select pg_cancel_backend(pid) from pg_stat_activity
            where state = 'active' and pid <> pg_backend_pid()";
        server.psql(sql);
    });
}
