//! Graceful ends and crashes, under load.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use chartlock::{Actor, Purpose, RecordId};

use super::DOCTOR;
use super::client::{Request, Response, connect, read_head};
use super::service::{Home, Service};

const CLIENTS: usize = 8;

/// Puts until the service no longer answers, and returns the numbers that it acknowledged.
fn load(port: u16, client: usize, acknowledged: &AtomicU32, must_stop: &AtomicBool) -> Vec<u32> {
    let mut done = Vec::new();
    for number in 0.. {
        if must_stop.load(Ordering::SeqCst) {
            break;
        }
        let request = request(client, number);
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
            break;
        };
        let sent = stream.write_all(&request);
        match sent.ok().and_then(|()| Response::try_read(&mut stream)) {
            Some(response) if response.status == 201 => {
                acknowledged.fetch_add(1, Ordering::SeqCst);
                done.push(number);
            }
            // A request during the end is refused, and never applied in part.
            Some(response) => assert_eq!(response.status, 503),
            None => break,
        }
    }
    done
}

fn request(client: usize, number: u32) -> Vec<u8> {
    let id = format!("o-{number}");
    let body = super::resource("Observation", &id, "");
    let path = format!("/patients/shu-{client}/Observation/{id}");
    let request = Request::new("PUT", &path)
        .token(DOCTOR)
        .header("Content-Type", "application/json");
    [request.head(body.len() as u64), body.into_bytes()].concat()
}

/// Runs clients until some puts were acknowledged, ends the service meanwhile, and reads every
/// acknowledged record.
fn end_under_load(end: impl FnOnce(Service)) {
    let home = Home::new();
    let portal = Service::start(&home);
    let (port, acknowledged) = (portal.port, AtomicU32::new(0));
    let must_stop = AtomicBool::new(false);
    let done: Vec<Vec<u32>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (acknowledged, must_stop) = (&acknowledged, &must_stop);
                scope.spawn(move || load(port, client, acknowledged, must_stop))
            })
            .collect();
        while acknowledged.load(Ordering::SeqCst) < 200 {
            thread::sleep(Duration::from_millis(5));
        }
        end(portal);
        must_stop.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let vault = home.open();
    let session = vault.session(Actor::new("test").unwrap(), Purpose::Operations);
    for (client, numbers) in done.iter().enumerate() {
        for number in numbers {
            let name = format!("Observation/o-{number}");
            let id = RecordId::patient(&format!("shu-{client}"), &name).unwrap();
            assert!(session.get(&id).unwrap().is_some(), "{client} {number}");
        }
    }
    assert!(vault.verify(None).unwrap().is_clean());
}

#[test]
fn graceful_end_under_load_keeps_every_acknowledged_put() {
    end_under_load(Service::stop);
}

#[test]
fn crash_under_load_keeps_every_acknowledged_put() {
    end_under_load(Service::kill);
}

#[test]
fn graceful_end_waits_for_running_upload() {
    let home = Home::new();
    let mut portal = Service::start(&home);
    let path = "/patients/shu-9/images/ct";
    let upload = Request::new("PUT", path)
        .token(DOCTOR)
        .header("Content-Type", "image/png");
    let upload = upload.header("Expect", "100-continue");
    let mut stream = connect(portal.port);
    stream.write_all(&upload.head(200_000)).unwrap();
    // The portal asks for the body once the request is running.
    let (head, _) = read_head(&mut stream).unwrap();
    assert!(head.starts_with("HTTP/1.1 100"), "{head}");
    stream.write_all(&[7; 100_000]).unwrap();
    portal.terminate();
    thread::sleep(Duration::from_millis(300));
    stream.write_all(&[7; 100_000]).unwrap();
    Response::read(&mut stream).expect(201);
    portal.wait();
    let vault = home.open();
    let session = vault.session(Actor::new("test").unwrap(), Purpose::Operations);
    let id = RecordId::patient("shu-9", "image/ct").unwrap();
    assert_eq!(session.get(&id).unwrap().unwrap().len(), 200_000);
}
