//! Soak test of one vault with two processes over a router. PostgreSQL stores everything but the content
//! segments; the object store often asks to slow down.

use std::sync::Arc;
use std::time::Duration;

use chartlock::Vault;
use chartlock::storage::{ObjectOptions, PostgresOptions, RouterStorage, Storage};

use crate::assert_clean;
use crate::common::Fixed;
use crate::common::postgres_server::Server;
use crate::common::s3_server::{self, S3Server, SlowDowns};
use crate::maintenance::Place;
use crate::shared::{process, run_in_processes, work_in};

const PORTS: &str = "CHARTLOCK_SOAK_PORTS";
/// Share of the requests that the proxy refuses.
const REFUSED: f64 = 0.05;

fn postgres(port: u16) -> PostgresOptions {
    let connection = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let options = PostgresOptions::parse(&connection).unwrap();
    options.schema("soak").unwrap().connections(6)
}

fn objects(port: u16) -> ObjectOptions {
    let options = s3_server::options_at(port, "soak");
    options.wait_for_server(Duration::from_secs(60))
}

fn open(postgres_port: u16, object_port: u16) -> impl Storage + 'static {
    let objects = objects(object_port).open().unwrap();
    RouterStorage::new(objects, postgres(postgres_port).open().unwrap())
}

#[test]
fn soak_over_router_with_slow_downs_stays_clean() {
    if let Ok(ports) = std::env::var(PORTS) {
        let (postgres, objects) = ports.split_once(' ').unwrap();
        let storage = open(postgres.parse().unwrap(), objects.parse().unwrap());
        let (storage, files) = (Arc::new(storage), None);
        return work_in(&Place { storage, files }, process());
    }
    let (Some(server), Some(weed)) = (Server::start(), S3Server::start_seaweed()) else {
        return;
    };
    let Some(proxy) = SlowDowns::start(weed.port, REFUSED) else {
        return;
    };
    postgres(server.port).migrate().unwrap();
    drop(Vault::create(open(server.port, weed.port), &Fixed(1)).unwrap());
    let ports = format!("{} {}", server.port, proxy.port);
    let test = "router::soak_over_router_with_slow_downs_stays_clean";
    run_in_processes(test, PORTS, ports.as_ref());
    println!("{} requests were refused", proxy.refused());
    assert!(proxy.refused() > 0);
    let storage = Arc::new(open(server.port, weed.port));
    let vault = Vault::open(Arc::clone(&storage), &Fixed(1)).unwrap();
    assert_clean(&vault);
}
