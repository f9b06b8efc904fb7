//! Two portals with one vault in PostgreSQL.

use std::thread;

use super::client::Request;
use super::common::postgres_server::{self, Server};
use super::common::s3_server;
use super::common::tls::enable_tls;
use super::service::{Home, Service};
use super::{ADMIN, DOCTOR, OFFICER, RESEARCHER, get, put};

const CONSENT: &str = r#","status":"active","provision":{"type":"permit"}"#;

#[test]
fn two_portals_at_one_database_serve_the_same_vault() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    let home = Home::of_database(format!(
        "postgres://postgres@127.0.0.1:{}/postgres",
        server.port
    ));
    // Both create the vault at the same time.
    let (mut a, mut b) = (Service::launch(&home), Service::launch(&home));
    a.wait_until_listening();
    b.wait_until_listening();

    let path = "/patients/two-1/Condition/c";
    a.ask(DOCTOR, put("two-1", "Condition", "c", ""))
        .expect(201);
    let tag = b.ask(DOCTOR, get(path)).expect(200);
    let tag = tag.header("ETag").unwrap();
    let next = || put("two-1", "Condition", "c", "").header("If-Match", tag);
    let won = thread::scope(|scope| {
        let puts = [&a, &b].map(|portal| scope.spawn(move || portal.ask(DOCTOR, next()).status));
        let mut won = puts.map(|put| put.join().unwrap());
        won.sort_unstable();
        won
    });
    assert_eq!(won, [200, 412], "one of two concurrent changes wins");

    // The other portal applies a consent that is given and withdrawn at one portal.
    b.ask(RESEARCHER, get(path)).expect(404);
    a.ask(DOCTOR, put("two-1", "Consent", "research", CONSENT))
        .expect(201);
    b.ask(RESEARCHER, get(path)).expect(200);
    a.ask(DOCTOR, put("two-1", "Consent", "research", ""))
        .expect(200);
    b.ask(RESEARCHER, get(path)).expect(404);

    // One portal rotates the master key while the other portal serves requests.
    a.ask(ADMIN, Request::new("POST", "/admin/rotation"))
        .expect(202);
    loop {
        b.ask(DOCTOR, put("two-1", "Observation", "bp", ""))
            .expect_success();
        let progress = a.ask(ADMIN, get("/admin/rotation")).expect(200).json();
        if progress["state"] != "running" {
            assert_eq!(progress["state"], "done", "{progress}");
            break;
        }
    }
    a.ask(DOCTOR, get("/patients/two-1/Observation/bp"))
        .expect(200);
    let report = b
        .ask(OFFICER, get("/patients/two-1/accesses"))
        .expect(200)
        .json();
    let reads = report["accesses"].as_array().unwrap().iter();
    let reads = reads.filter(|it| it["operation"] == "read" && it["outcome"] == "done");
    assert!(
        reads.count() >= 3,
        "the report of one names the reads of both"
    );
    a.stop();
    b.ask(DOCTOR, get(path)).expect(200);
    b.stop();
}

#[test]
fn portal_reaches_database_with_tls() {
    let Some(server) = Server::start() else {
        return;
    };
    let certificate = enable_tls(&server);
    let connection = format!(
        "postgres://postgres@localhost:{}/postgres?sslmode=require&hostaddr=127.0.0.1",
        server.port
    );
    let home = Home::of_database(connection);
    std::fs::write(home.path().join("authority.pem"), certificate).unwrap();
    let portal = Service::start(&home);
    portal.send(&get("/health/ready")).expect(204);
    portal
        .ask(DOCTOR, put("two-2", "Condition", "c", ""))
        .expect(201);
    portal.stop();
}

#[test]
fn images_of_two_portals_are_in_a_bucket_and_everything_else_in_the_database() {
    let Some(database) = postgres_server::shared() else {
        return;
    };
    for (number, server) in s3_server::all().enumerate() {
        let name = format!("portal_{number}");
        assert!(database.psql(&format!("create database {name}")).0);
        let connection = format!("postgres://postgres@127.0.0.1:{}/{name}", database.port);
        let home = Home::of_database(connection).with_bucket(server, &name);
        let (a, b) = (Service::start(&home), Service::start(&home));
        let path = "/patients/two-3/images/ct";
        let image: Vec<u8> = (0..5_000_000_u32).map(|at| (at / 7 % 251) as u8).collect();
        let put = Request::new("PUT", path).header("Content-Type", "application/dicom");
        a.ask(DOCTOR, put.body(image.clone())).expect(201);
        assert!(b.ask(DOCTOR, get(path)).expect(200).body == image);
        let range = get(path).header("Range", "bytes=2000000-2000099");
        let part = b.ask(DOCTOR, range).expect(206);
        assert!(part.body == image[2_000_000..2_000_100]);
        let largest = "select max(length(value)) from chartlock.object";
        let (_, largest) = database.psql(&format!("\\c {name}\n{largest}"));
        let largest: u64 = largest.parse().unwrap();
        assert!(largest < 100_000, "{largest} bytes");
        a.stop();
        b.stop();
    }
}

#[test]
fn list_during_outage_of_bucket_fails() {
    let Some(server) = s3_server::S3Server::start_seaweed() else {
        return;
    };
    let home = Home::new().with_bucket(&server, "outage");
    let portal = Service::start(&home);
    let text = format!(r#","text":"{}""#, "x".repeat(200_000));
    portal
        .ask(DOCTOR, put("two-4", "Condition", "large", &text))
        .expect(201);
    let list = "/patients/two-4/Condition";
    let entries = portal.ask(DOCTOR, get(list)).expect(200).json();
    assert_eq!(entries["entry"].as_array().unwrap().len(), 1);
    drop(server);
    let refused = portal.ask(DOCTOR, get(list)).expect(503);
    assert_eq!(refused.json()["issue"][0]["code"], "transient");
    portal.stop();
}
