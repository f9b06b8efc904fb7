//! Crash test that kills a process at any moment. Acknowledged changes must stay complete, and
//! unfinished changes must be complete or absent.
//!
//! The child process is this test binary. The child runs every operation that changes a vault over
//! a `FileStorage`, on two threads with separate patients. The child prints a line before each
//! operation, and a line with the answer after the operation. After the kill, the parent expects a
//! journal entry for each acknowledged change, and no finding from `verify`.
//!
//! `CHARTLOCK_CRASH_ROUNDS` sets the number of kills. `CHARTLOCK_SEED` repeats the child's
//! operations and the moments of the kills, but not the interleaving of the threads.
#![cfg(feature = "file")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod child;
#[path = "../common/mod.rs"]
mod common;
mod journal;
mod model;
mod place;
#[cfg(feature = "internals")]
mod sweep;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use child::{DIRECTORY, SEED, parse_line};
use common::content::Random;
use model::Model;

/// The number of kills for each directory. More kills would slow the comparison, because the vault
/// grows.
const ROUNDS_EACH: u64 = 6;

#[test]
fn kill_at_any_moment_loses_no_acknowledged_change() {
    let rounds = std::env::var("CHARTLOCK_CRASH_ROUNDS").map(|rounds| rounds.parse().unwrap());
    let rounds: u64 = rounds.unwrap_or(20);
    let mut random = Random::new();
    let mut killed_within = BTreeMap::<String, u64>::new();
    let (mut acknowledged, mut freed, mut expected) = (0, (0, 0), 0);
    let mut scratch = None;
    let mut model = Model::default();
    for round in 0..rounds {
        if round % ROUNDS_EACH == 0 {
            scratch = Some(common::scratch::quick());
            model = Model::default();
        }
        let directory = scratch.as_ref().unwrap().path().join("vault");
        // Wait for an acknowledgement in every other round, because otherwise a slow machine might
        // acknowledge nothing.
        let awaited = ["done", "begin"][round as usize % 2];
        let lines = run_and_kill(&directory, random.next(), awaited);
        let (done, begun) = read_lines(&lines);
        acknowledged += done.len();
        for (verb, answer) in done {
            model.acknowledge(&verb, &answer);
        }
        for verb in begun.values() {
            let mut words = verb.split(' ');
            let name = [words.next(), words.nth(1).filter(|name| *name == "huge")];
            let name = name.into_iter().flatten().collect::<Vec<_>>().join(" ");
            *killed_within.entry(name).or_default() += 1;
        }
        let [uploads, segments, entries] = model.compare(&directory, &begun);
        freed = (freed.0 + uploads, freed.1 + segments);
        expected += entries;
    }
    println!(
        "{rounds} rounds, {acknowledged} operations acknowledged, killed within {killed_within:?}"
    );
    println!(
        "left behind and freed: {} uploads, {} segments",
        freed.0, freed.1
    );
    println!("{expected} entries expected in the journal");
    assert!(acknowledged > 0);
    assert!(expected > 0);
}

/// Starts the child, waits for a line that contains `awaited`, lets the child run for a moment, and
/// kills it. Returns the lines that the child printed.
fn run_and_kill(directory: &Path, seed: u64, awaited: &str) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child::child_runs_operations_until_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, directory)
        .env(SEED, (seed >> 8).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (line_seen, wait_for_line) = mpsc::channel();
    let awaited = format!(" {awaited} ");
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let mut lines = Vec::new();
        for line in stdout.lines() {
            let line = line.unwrap();
            if line.contains(&awaited) {
                let _ = line_seen.send(());
            }
            lines.push(line);
        }
        lines
    });
    let silent = wait_for_line.recv().is_err();
    thread::sleep(Duration::from_micros(seed % 400_000));
    // A failed assertion in the child must not count as a kill.
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    if silent || ended.is_some() {
        let mut words = String::new();
        let mut stderr = child.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut words).unwrap();
        panic!("the child exited before it was killed: {words}");
    }
    reader.join().unwrap()
}

/// Returns the acknowledged operations with their answers, and each thread's unfinished operation.
fn read_lines(lines: &[String]) -> (Vec<(String, String)>, BTreeMap<String, String>) {
    let mut done = Vec::new();
    let mut begun = BTreeMap::<String, String>::new();
    for line in lines {
        done.extend(parse_line(line, &mut begun));
    }
    (done, begun)
}
