//! Races of conditional puts. A server whose conditional puts are not atomic shows that the race occurs.

use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

use chartlock::storage::{Expect, ObjectStorage, Storage, Transaction};

use crate::common::s3_server::{self, BUCKET, KEY, SECRET, options_at, wait_for_port};
use crate::common::scratch;
use crate::common::server_process::{ServerProcess, free_port};

const WRITERS: usize = 4;
/// SeaweedFS takes a second for each round.
const ROUNDS: usize = 10;

/// Lets several writers put the same keys, and returns the number of rounds in which not exactly one succeeded.
fn faults(storage: &ObjectStorage) -> usize {
    let barrier = Barrier::new(WRITERS);
    let race = |writer: usize| {
        let win = |round: usize| {
            let put = Transaction::new().put(
                [b'r', round as u8],
                vec![writer as u8; 1000],
                Expect::Absent,
            );
            barrier.wait();
            storage.commit(&[put])[0].is_ok()
        };
        (0..ROUNDS).map(win).collect::<Vec<_>>()
    };
    let wins: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let race = &race;
                    move || race(writer)
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    let winners = |round: &usize| wins.iter().filter(|wins| wins[*round]).count();
    (0..ROUNDS).filter(|round| winners(round) != 1).count()
}

#[test]
fn racing_puts_have_one_winner() {
    for server in s3_server::all() {
        assert_eq!(faults(&server.storage()), 0);
    }
}

/// Returns the path of `s3s-fs` in the search path. If it is missing, panics if `CHARTLOCK_LONG` is set.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|directory| directory.join("s3s-fs"));
    let found = programs.find(|program| program.exists());
    let is_required = std::env::var_os("CHARTLOCK_LONG").is_some();
    assert!(found.is_some() || !is_required, "s3s-fs is not installed");
    if found.is_none() {
        eprintln!("SKIPPED: s3s-fs is not installed; `.ci/long router` installs it");
    }
    found
}

#[test]
fn racing_puts_without_atomicity_have_several_winners() {
    let Some(program) = program() else {
        return;
    };
    let (port, directory) = (free_port(), scratch::quick().keep());
    std::fs::create_dir(directory.join(BUCKET)).unwrap();
    let port_argument = port.to_string();
    let root = directory.display().to_string();
    let arguments = [
        "--host",
        "127.0.0.1",
        "--port",
        &port_argument,
        "--access-key",
        KEY,
        "--secret-key",
        SECRET,
        &root,
    ];
    let arguments = arguments.map(str::to_owned);
    let _process = ServerProcess::start(&program, directory, &arguments, &[]);
    wait_for_port(port);
    let storage = options_at(port, "race").open().unwrap();
    let faults = faults(&storage);
    println!("{faults} of {ROUNDS} rounds had several winners");
    assert!(faults > 0);
}
