//! Poolers between the storage and the server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chartlock::storage::{CommitError, Expect, Storage, Transaction};

use crate::common::postgres_server::{self, options_at};

/// A pooler can lose the server after it ran the commit, and then sends an error of its own.
#[test]
fn commit_that_a_pooler_lost_is_unknown() {
    let Some(server) = postgres_server::shared() else {
        return;
    };
    server.options_of("pooled").migrate().unwrap();
    let is_armed = Arc::new(AtomicBool::new(false));
    let port = pooler_that_loses_answers(server.port, Arc::clone(&is_armed));
    let storage = options_at(port, "postgres", "pooled").open().unwrap();
    // Prepares the statement, so that the next transaction is one message.
    storage.commit(&[Transaction::new().put(b"r0", b"", Expect::Absent)]);
    is_armed.store(true, Ordering::SeqCst);
    let put = Transaction::new().put(b"r1", b"sealed", Expect::Absent);
    assert_eq!(storage.commit(&[put]), [Err(CommitError::Unknown)]);
    assert!(storage.read(&[b"r1"]).unwrap()[0].is_some());
}

/// Sends an error in place of the answers to the first transaction after `is_armed`, although the server
/// runs it, as a pooler does that loses the server.
fn pooler_that_loses_answers(server: u16, is_armed: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, is_armed) = (client.unwrap(), Arc::clone(&is_armed));
            thread::spawn(move || {
                forward(
                    client,
                    TcpStream::connect(("127.0.0.1", server)).unwrap(),
                    &is_armed,
                )
            });
        }
    });
    port
}

fn forward(mut client: TcpStream, mut server: TcpStream, is_armed: &AtomicBool) {
    let is_lost = Arc::new(AtomicBool::new(false));
    let (mut answers, mut back, lost) = (
        server.try_clone().unwrap(),
        client.try_clone().unwrap(),
        Arc::clone(&is_lost),
    );
    thread::spawn(move || {
        let mut bytes = [0; 8192];
        while let Ok(count @ 1..) = answers.read(&mut bytes) {
            if !lost.load(Ordering::SeqCst) && back.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        let begins = bytes[..count].windows(6).any(|word| word == b"begin ");
        if begins && is_armed.swap(false, Ordering::SeqCst) {
            is_lost.store(true, Ordering::SeqCst);
            server.write_all(&bytes[..count]).unwrap();
            thread::sleep(Duration::from_millis(300));
            let fields = b"SFATAL\0C08P01\0Mserver conn crashed?\0\0";
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            let error = [b"E".as_slice(), &length, fields].concat();
            client.write_all(&error).unwrap();
            break;
        }
        if server.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}
