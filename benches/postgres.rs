//! Benchmark of a vault over `PostgresStorage`, compared with plain SQL on the same server.
//!
//! Starts a server on loopback. Plain SQL stores the same number of bytes without encryption. Its statements also
//! run on a thread of their own. The first baseline of a put is one `INSERT`. The second does what an app without
//! chartlock would have to do for the same result: read the record, then insert it and an entry of a log in one
//! transaction, whose statements are sent together.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the shared helpers are those of the tests"
)]

#[path = "common/busy.rs"]
mod busy;
#[path = "../tests/common/credential.rs"]
mod credential;
#[path = "../tests/common/faulty_proxy.rs"]
mod faulty_proxy;
#[path = "../tests/common/postgres_server.rs"]
mod postgres_server;
#[path = "common/ratio.rs"]
mod ratio;
#[path = "../tests/common/server_process.rs"]
mod server_process;
#[path = "common/timed.rs"]
mod timed;

use std::cell::Cell;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use busy::busy;
use chartlock::storage::PostgresOptions;
use chartlock::{Actor, Document, Purpose, RecordId, Session, Vault};
use credential::Fixed;
use faulty_proxy::FaultyProxy;
use postgres_server::Server;
use ratio::ratio;
use timed::timed;
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

const SIZE: usize = 1024;
/// The stored size of a 1 KiB record in bytes, with its padding.
const SEALED: usize = 1264;
/// The stored size of a journal page with one entry in bytes.
const LOGGED: usize = 394;
const BATCH: usize = 1000;
const ROUNDS: usize = 300;

/// A table without encryption, and a connection to it.
struct Plain {
    runtime: Runtime,
    client: Arc<Client>,
    insert: Statement,
    select: Statement,
}

impl Plain {
    fn connect(server: &Server) -> Self {
        let create = "create table plain (key bigint primary key, value bytea not null)";
        assert!(server.psql(create).0);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let address = format!("host=127.0.0.1 port={} user=postgres", server.port);
        let (client, insert, select) = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
            tokio::spawn(connection);
            let insert = "insert into plain select * from unnest($1::bigint[], $2::bytea[])";
            let insert = client.prepare(insert).await.unwrap();
            let select = "select value from plain where key = $1";
            let select = client.prepare(select).await.unwrap();
            (Arc::new(client), insert, select)
        });
        Self {
            runtime,
            client,
            insert,
            select,
        }
    }

    fn insert(&self, numbers: std::ops::Range<i64>) {
        let (client, insert) = (Arc::clone(&self.client), self.insert.clone());
        self.run(async move {
            let values: Vec<_> = numbers.clone().map(|_| vec![7_u8; SEALED]).collect();
            let numbers: Vec<_> = numbers.collect();
            client.execute(&insert, &[&numbers, &values]).await.unwrap()
        });
    }

    fn insert_logged(&self, number: i64) {
        let (client, insert) = (Arc::clone(&self.client), self.insert.clone());
        let select = self.select.clone();
        self.run(async move {
            assert!(
                client
                    .query_opt(&select, &[&number])
                    .await
                    .unwrap()
                    .is_none()
            );
            let numbers = vec![number, -number];
            let values = vec![vec![7_u8; SEALED], vec![7_u8; LOGGED]];
            let parameters: [&(dyn ToSql + Sync); 2] = [&numbers, &values];
            let begin = client.batch_execute("begin");
            let insert = client.execute(&insert, &parameters);
            let (begun, inserted, committed) =
                tokio::join!(begin, insert, client.batch_execute("commit"));
            assert_eq!(
                (begun.unwrap(), inserted.unwrap(), committed.unwrap()),
                ((), 2, ())
            );
        });
    }

    fn select(&self, number: i64) -> usize {
        let (client, select) = (Arc::clone(&self.client), self.select.clone());
        self.run(async move {
            let row = client.query_one(&select, &[&number]).await.unwrap();
            row.get::<_, &[u8]>(0).len()
        })
    }

    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = sender.send(future.await);
        });
        receiver.recv().unwrap()
    }
}

fn id(number: i64) -> RecordId {
    RecordId::patient("MRN-1", &format!("Observation/{number:08}")).unwrap()
}

fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("bench").unwrap(), Purpose::Operations)
}

fn main() {
    let Some(server) = Server::start() else {
        return;
    };
    let vault = Vault::create(server.storage(), &Fixed(1)).unwrap();
    let plain = Plain::connect(&server);
    let (content, session) = (vec![7; SIZE], session(&vault));
    println!("\nvault over PostgresStorage, against plain SQL with the same bytes");
    let (ours, theirs) = (Cell::new(0), Cell::new(0));
    let next = |counter: &Cell<i64>, count: i64| {
        let from = counter.get();
        counter.set(from + count);
        from..from + count
    };
    ratio(
        "put of a new record of 1 KiB",
        ROUNDS,
        || {
            let id = id(next(&ours, 1).start);
            timed(1, || _ = session.put(&id, &content).unwrap())
        },
        || {
            let numbers = next(&theirs, 1);
            timed(1, || plain.insert(numbers.clone()))
        },
    );
    ratio(
        "the same, read, record and log in a transaction",
        ROUNDS,
        || {
            let id = id(next(&ours, 1).start);
            timed(1, || _ = session.put(&id, &content).unwrap())
        },
        || {
            let number = next(&theirs, 1).start;
            timed(1, || plain.insert_logged(number))
        },
    );
    ratio(
        "20 gets of 1 KiB",
        ROUNDS,
        || timed(20, || drop(session.get(&id(1)).unwrap().unwrap())),
        || timed(20, || _ = plain.select(1)),
    );
    let put_many = || {
        let ids: Vec<_> = next(&ours, BATCH as i64).map(id).collect();
        let records = ids.iter().map(|id| (id, Document::new(&content)));
        let outcomes = session.put_many(records).unwrap();
        assert!(outcomes.iter().all(Result::is_ok));
    };
    let insert_many = || plain.insert(next(&theirs, BATCH as i64));
    ratio(
        "put_many of 1,000 of 1 KiB",
        ROUNDS / 20,
        || timed(1, put_many),
        || timed(1, insert_many),
    );
    ratio(
        "10 put_many of 1,000, CPU of client and server",
        ROUNDS / 20,
        || busy("postgres", || (0..10).for_each(|_| put_many())),
        || busy("postgres", || (0..10).for_each(|_| insert_many())),
    );
    drop(session);
    drop(vault);
    print_threads(&server);
}

/// Prints how many times more puts 16 threads make than one, if each message takes 5 ms.
fn print_threads(server: &Server) {
    let proxy = FaultyProxy::delaying(server.port, Duration::from_millis(5));
    server.options_of("delayed").migrate().unwrap();
    let address = format!("host=127.0.0.1 port={} user=postgres", proxy.port);
    let options = PostgresOptions::parse(&address).unwrap();
    let storage = options.schema("delayed").unwrap().open().unwrap();
    let vault = Vault::create(storage, &Fixed(1)).unwrap();
    session(&vault).put(&id(0), b"first").unwrap();
    let rates = [1, 16].map(|threads| puts_per_second(&vault, threads));
    println!(
        "16 threads at 5 ms a message: {:.0} puts/s, 1 thread {:.0} puts/s, ratio {:.1}",
        rates[1],
        rates[0],
        rates[1] / rates[0]
    );
}

fn puts_per_second(vault: &Vault, threads: i64) -> f64 {
    const PUTS: i64 = 100;
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 1..=threads {
            let session = session(vault);
            scope.spawn(move || {
                for number in 0..PUTS {
                    let number = thread * 1_000_000 + number;
                    session.put(&id(number), &[7; SIZE]).unwrap();
                }
            });
        }
    });
    (threads * PUTS) as f64 / start.elapsed().as_secs_f64()
}
