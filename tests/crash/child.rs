//! Child process that the test kills. The child runs every operation that changes a vault, on two
//! threads with separate patients.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use chartlock::{Checkpoint, Document, Error, Precondition, RecordId, Session, Subject, Vault};

use crate::common::content::{MISFILED, NAMES, Random, batch, content};
use crate::common::{Fixed, session, subject};
use crate::model::patients;
use crate::place;

pub(crate) const DIRECTORY: &str = "CHARTLOCK_CRASH_DIRECTORY";
pub(crate) const SEED: &str = "CHARTLOCK_CRASH_SEED";

/// Runs operations until the parent kills the process, if the parent set the environment variables.
/// Otherwise returns at once, because the test runner also calls this function.
#[test]
fn child_runs_operations_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    // Exit at the first panic, because otherwise the other thread would continue without end.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(101);
    }));
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let vault = open_or_create(Path::new(&directory));
    thread::scope(|scope| {
        for thread in 0..2 {
            let vault = &vault;
            scope.spawn(move || work(vault, thread, Random(seed + thread)));
        }
    });
}

/// Opens the vault in a directory, or creates a vault there.
pub(crate) fn open_or_create(directory: &Path) -> Vault {
    let storage = place::open(directory).unwrap();
    match Vault::open(storage.clone(), &Fixed(1)) {
        Err(Error::NoVault) => print_and_run(0, "create", || Vault::create(storage, &Fixed(1)), ok),
        opened => opened.unwrap(),
    }
}

/// Runs an operation. Prints a line before the operation, and a line with the answer after the
/// operation.
pub(crate) fn print_and_run<T>(
    thread: u64,
    verb: &str,
    run: impl FnOnce() -> Result<T, Error>,
    answer: impl FnOnce(&T) -> String,
) -> T {
    println!("{thread} begin {verb}");
    let done = run().unwrap();
    println!("{thread} done {}", answer(&done));
    done
}

/// Parses a line that [`print_and_run`] printed. Returns the completed operation and its answer.
///
/// Returns `None` for any other line. Adds an announced operation to `begun`.
pub(crate) fn parse_line(
    line: &str,
    begun: &mut BTreeMap<String, String>,
) -> Option<(String, String)> {
    // The test runner prints the test's name before the first line.
    let line = line.rsplit("... ").next().unwrap();
    if let Some((thread, verb)) = line.split_once(" begin ") {
        begun.insert(thread.to_owned(), verb.to_owned());
        return None;
    }
    let (thread, answer) = line.split_once(" done ")?;
    Some((begun.remove(thread).unwrap(), answer.to_owned()))
}

pub(crate) fn ok<T>(_: &T) -> String {
    "ok".to_owned()
}

/// Runs random operations until the parent kills the process.
fn work(vault: &Vault, thread: u64, mut random: Random) {
    let session = session(vault);
    // Let every third child run only long operations, which the other children rarely run.
    let is_heavy = random.below(3) == 0;
    for patient in patients(thread) {
        reopen_if_erased(&session, thread, &patient);
    }
    loop {
        let patient = &patients(thread)[random.below(2) as usize];
        if let Some(verb) = pick(&mut random, thread, is_heavy) {
            run_verb(vault, thread, patient, verb, &mut random);
        }
    }
}

/// Picks an operation. Long operations are rare, because otherwise nearly every kill would hit one
/// of them.
fn pick(random: &mut Random, thread: u64, is_heavy: bool) -> Option<&'static str> {
    let number = match is_heavy {
        true => 28 + random.below(7),
        false => random.below(40),
    };
    let verb = match number {
        0..12 => "put",
        12..15 => "put-large",
        15..18 => "put-if",
        18..24 => "many",
        24..28 => "remove",
        28 => "erase",
        29 => "rotate-patient",
        30 if is_heavy || random.below(4) == 0 => "put-huge",
        31 if random.below(4) == 0 => "begin",
        32 if random.below(4) == 0 => "reencrypt-patient",
        33 => "collect",
        34 if random.below(16) == 0 => "reencrypt",
        35 => "rotate-master",
        36 if thread == 0 => "rotate-root",
        37 if thread == 0 => "slots",
        38 | 39 => "checkpoint",
        _ => return None,
    };
    Some(verb)
}

/// Runs one operation that changes the vault.
pub(crate) fn run_verb(vault: &Vault, thread: u64, patient: &str, verb: &str, random: &mut Random) {
    let session = session(vault);
    let subject = subject(patient);
    let seed = random.next() >> 16;
    let id = |name: &str| RecordId::new(subject.clone(), name).unwrap();
    match verb {
        "put" => {
            let id = id(NAMES[random.below(3) as usize]);
            let body = content(seed, id.name());
            let verb = format!("put {patient} {} {seed}", id.name());
            print_and_run(thread, &verb, || session.put(&id, &body), u64::to_string);
        }
        "put-large" => {
            let id = id("large");
            let body = content(seed, "large");
            let verb = format!("put {patient} large {seed}");
            print_and_run(thread, &verb, || session.put(&id, &body), u64::to_string);
        }
        "put-if" => {
            let id = id("a");
            let body = content(seed, "a");
            let now = session.get(&id).unwrap();
            let expected = now.map_or(Precondition::Absent, |now| {
                Precondition::Version(now.version())
            });
            let verb = format!("put {patient} a {seed}");
            let put = || session.put_if(&id, expected, &body);
            print_and_run(thread, &verb, put, u64::to_string);
        }
        "many" => {
            let ids: Vec<_> = batch().iter().map(|name| id(name)).collect();
            let bodies = (0..).zip(batch());
            let bodies: Vec<_> = bodies
                .map(|(index, name)| content(seed + index, name))
                .collect();
            let batch = ids.iter().zip(bodies.iter().map(Document::from));
            let verb = format!("many {patient} {seed}");
            let put = || {
                session
                    .put_many(batch)?
                    .into_iter()
                    .collect::<Result<Vec<_>, _>>()
            };
            print_and_run(thread, &verb, put, ok);
        }
        "remove" => {
            let id = id(NAMES[random.below(4) as usize]);
            let verb = format!("remove {patient} {}", id.name());
            let answer = |removed: &Option<u64>| {
                removed.map_or_else(|| "nothing".to_owned(), |version| version.to_string())
            };
            print_and_run(thread, &verb, || session.retract(&id), answer);
        }
        "put-huge" => {
            let id = id("huge");
            let body = content(seed, "huge");
            let verb = format!("put {patient} huge {seed}");
            let put = || session.put_reader(&id, Pieces(&body, Random(seed)));
            print_and_run(thread, &verb, put, u64::to_string);
        }
        "begin" => {
            let body = content(seed, "huge");
            let begin = || {
                let mut writer = session.writer(&id("huge"));
                writer.write_all(&body).map(|()| drop(writer)).unwrap();
                Ok(())
            };
            print_and_run(thread, &format!("begin {patient}"), begin, ok);
        }
        "erase" if is_known(&session, &subject) => {
            let verb = format!("erase {patient}");
            let erase = || session.erase_subject(&subject, "asked for");
            print_and_run(thread, &verb, erase, ok);
            reopen_if_erased(&session, thread, patient);
        }
        "rotate-patient" if is_known(&session, &subject) => {
            let rotate = || vault.rotate_subject_key(&subject);
            let report = print_and_run(thread, "rotate-patient", rotate, ok);
            assert_eq!((report.blocking, report.orphaned), (0, 0));
        }
        "reencrypt-patient" if is_known(&session, &subject) => {
            let renew = || vault.reencrypt_subject(&subject);
            let report = print_and_run(thread, "reencrypt-patient", renew, ok);
            assert_eq!((report.blocking, report.orphaned), (0, 0));
        }
        "erase" | "rotate-patient" | "reencrypt-patient" => {}
        "misfile" => {
            let body = content(seed, MISFILED);
            let put = || session.put(&id(MISFILED), &body);
            print_and_run(thread, &format!("misfile {patient} {seed}"), put, ok);
        }
        "expunge" => {
            let expunge = || session.expunge(&id(MISFILED), "of another patient");
            print_and_run(thread, &format!("expunge {patient}"), expunge, ok);
        }
        "hold" => {
            let hold = || session.place_hold(&subject, "subpoena");
            print_and_run(thread, &format!("hold {patient}"), hold, ok);
        }
        "release" => {
            let release = || {
                let holds = session.holds(&subject)?;
                session.lift_hold(&subject, holds[0].id)
            };
            print_and_run(thread, &format!("release {patient}"), release, ok);
        }
        "retain" => {
            let day = Duration::from_secs(86_400 * (1 + seed % 10_000));
            let retain = || session.retain_until(&subject, Some(UNIX_EPOCH + day));
            let verb = format!("retain {patient} {}", day.as_secs());
            print_and_run(thread, &verb, retain, ok);
        }
        _ => run_maintenance(vault, thread, verb),
    }
}

/// Runs an operation that concerns the whole vault.
fn run_maintenance(vault: &Vault, thread: u64, verb: &str) {
    match verb {
        "collect" => drop(print_and_run(thread, verb, || vault.collect_garbage(), ok)),
        "reencrypt" => drop(print_and_run(thread, verb, || vault.reencrypt(), ok)),
        "rotate-master" => {
            let report = print_and_run(thread, verb, || vault.rotate_master_key(), ok);
            assert_eq!(report.entries_blocking, 0);
        }
        "rotate-root" => {
            let rotate = || vault.rotate_root_key(&[&Fixed(1)], &[]);
            print_and_run(thread, verb, rotate, ok);
        }
        "slots" => {
            let slots = || {
                let id = vault.add_slot(&Fixed(1))?;
                vault.replace_slot(id, &Fixed(1))?;
                vault.remove_slot(id)
            };
            print_and_run(thread, verb, slots, ok);
        }
        "checkpoint" => {
            let take = || vault.checkpoint();
            print_and_run(thread, verb, take, Checkpoint::to_string);
        }
        _ => panic!("no such verb: {verb}"),
    }
}

fn is_known(session: &Session, subject: &Subject) -> bool {
    session
        .subjects()
        .unwrap()
        .any(|known| known.unwrap() == *subject)
}

/// Reopens the chart of a patient whose erasure is complete or has begun.
fn reopen_if_erased(session: &Session, thread: u64, patient: &str) {
    let subject = subject(patient);
    let id = RecordId::new(subject.clone(), "a").unwrap();
    match session.get(&id) {
        Err(Error::Erased) => {}
        other => return drop(other.unwrap()),
    }
    let erase = || session.erase_subject(&subject, "asked for");
    print_and_run(thread, &format!("erase {patient}"), erase, ok);
    let reopen = || session.reopen_chart(&subject);
    print_and_run(thread, &format!("readmit {patient}"), reopen, ok);
}

/// Reader that returns a random number of bytes for each call, as a network connection does.
struct Pieces<'a>(&'a [u8], Random);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let some = 1 + self.1.below(100_000);
        self.0.by_ref().take(some).read(out)
    }
}
