//! Child processes that run a script of operations and then exit.
//!
//! A script is a list of words. `|` separates the scripts of the threads of a process, and `&` the
//! scripts of processes that run at the same time. Each thread changes its own patients. The word
//! `strict` comes first and makes the process journal strictly.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use chartlock::storage::{FileStorage, Storage, StorageError, archive};
use chartlock::{Error, Journaling, RecordId, Vault, VaultOptions};

use crate::child::{ok, print_and_run, run_verb};
use crate::common::content::Random;
use crate::common::{Fixed, accept_restore, record, session};
use crate::place;

pub(crate) const ROOT: &str = "CHARTLOCK_POWER_DIRECTORY";
pub(crate) const SCRIPT: &str = "CHARTLOCK_POWER_SCRIPT";
pub(crate) const SEED: &str = "CHARTLOCK_POWER_SEED";
pub(crate) const FAULT: &str = "CHARTLOCK_POWER_FAULT";
/// Environment variable with the index of the process among those that run at the same time.
pub(crate) const PROCESS: &str = "CHARTLOCK_POWER_PROCESS";

/// Script with every operation that changes a vault. Some operations occur more than once, on
/// existing and on missing records.
pub(crate) const EVERY_OPERATION: &str = "\
put put put 1:put put-large put-if many remove checkpoint backup use \
put-huge begin collect misfile 1:misfile expunge retain 1:hold rotate-patient \
rotate-master put slots rotate-root 1:put-large reencrypt-patient erase put \
many compact remove checkpoint archive use reencrypt 1:release 1:expunge put-if collect";

/// Returns a script with every operation, for a child in which a call fails. All operations change
/// the first patient, because the outcome of the failed operation is unknown from then on.
pub(crate) fn every_operation_on_one() -> String {
    let words = EVERY_OPERATION.split_whitespace();
    let mut words: Vec<_> = words.filter(|word| !word.starts_with("1:")).collect();
    // Add pairs of operations, because a hold must exist to be lifted, and a record must be
    // misfiled to be expunged.
    words.extend(["hold", "release", "misfile", "expunge"]);
    words.join(" ")
}

/// Vault of a child with its storage.
struct Opened {
    vault: Vault,
    storage: Arc<dyn Storage>,
    kind: Kind,
    directory: PathBuf,
    /// The newest copy of the storage, by the number of the thread that made it.
    copies: Mutex<BTreeMap<u64, String>>,
}

/// Storage with its concrete type, for the operations that the trait lacks.
enum Kind {
    File(Arc<FileStorage>),
    Split(Arc<place::Split>),
}

impl Kind {
    fn open(directory: &Path) -> Result<(Self, Arc<dyn Storage>), StorageError> {
        Ok(match place::is_split(directory) {
            true => {
                let split = place::open_split(directory)?;
                (Self::Split(split.clone()), split)
            }
            false => {
                let file = place::open_file(directory)?;
                (Self::File(file.clone()), file)
            }
        })
    }

    fn backup(&self, directory: &Path) -> Result<(), StorageError> {
        match self {
            Self::File(file) => file.backup(directory, |_, _| ()).map(drop),
            Self::Split(split) => {
                let [keys, data] = ["keys", "data"].map(|side| directory.join(side));
                split.backup(keys, data, |_, _| ()).map(drop)
            }
        }
    }

    fn compact(&self) -> Result<(), StorageError> {
        match self {
            Self::File(file) => file.compact(),
            Self::Split(split) => split.keys().compact().and(split.data().compact()),
        }
    }
}

/// Runs the script of this process if the parent set the environment variables. Otherwise returns
/// at once, because the test runner also calls this function.
#[test]
fn child_runs_script() {
    let Some(directory) = std::env::var_os(ROOT).map(PathBuf::from) else {
        return;
    };
    let scripts = std::env::var(SCRIPT).unwrap();
    let process: usize = std::env::var(PROCESS).map_or(0, |number| number.parse().unwrap());
    let script = scripts.split('&').nth(process).unwrap();
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let mut random = Random(seed + process as u64);
    if std::env::var_os(FAULT).is_some() {
        return run_until_failure(&directory, script, &mut random);
    }
    let opened = open_or_create(&directory, script.contains("strict"));
    thread::scope(|scope| {
        for (number, script) in (process as u64..).zip(script.split('|')) {
            let (opened, mut random) = (&opened, Random(random.next()));
            scope.spawn(move || {
                for word in script.split_whitespace().filter(|word| *word != "strict") {
                    run_word(opened, number, word, &mut random);
                }
            });
        }
    });
    let Opened { vault, storage, .. } = opened;
    drop(vault);
    let close = || storage.close().map_err(Error::from);
    print_and_run(process as u64, "close", close, ok);
}

fn open_or_create(directory: &Path, is_strict: bool) -> Opened {
    let (kind, storage) = Kind::open(directory).unwrap();
    let journaling = if is_strict {
        Journaling::Strict
    } else {
        Journaling::Grouped
    };
    let options = || VaultOptions::new().journaling(journaling);
    let vault = match options().open(Arc::clone(&storage), &Fixed(1)) {
        Err(Error::NoVault) => {
            let create = || options().create(Arc::clone(&storage), &Fixed(1));
            print_and_run(0, "create", create, ok)
        }
        opened => opened.unwrap(),
    };
    Opened {
        vault,
        storage,
        kind,
        directory: directory.to_owned(),
        copies: Mutex::default(),
    }
}

fn run_word(opened: &Opened, thread: u64, word: &str, random: &mut Random) {
    match word {
        "compact" => {
            let compact = || opened.kind.compact().map_err(Error::from);
            print_and_run(thread, word, compact, ok);
        }
        "backup" | "archive" => copy(opened, thread, word, random),
        "use" => use_copy(opened, thread),
        _ => {
            let (patient, verb) = word.split_once(':').unwrap_or(("0", word));
            let patient = format!("patient-{thread}-{patient}");
            run_verb(&opened.vault, thread, &patient, verb, random);
        }
    }
}

/// Copies the storage into a new directory, directly or by way of an archive.
fn copy(opened: &Opened, thread: u64, verb: &str, random: &mut Random) {
    let mut name = format!("{verb}-{}", random.next());
    if place::is_split(&opened.directory) {
        name.push_str("/split");
    }
    let target = opened.directory.with_file_name(&name);
    let session = session(&opened.vault);
    let copy = || match verb {
        "backup" => session.backup("nightly", || opened.kind.backup(&target)),
        _ => {
            let mut out = Cursor::new(Vec::new());
            session.archive("nightly", &mut out)?;
            out.set_position(0);
            let restored = place::open(&target)?;
            archive::read(out, &*restored).unwrap();
            restored.close().map_err(Error::from)
        }
    };
    print_and_run(thread, &format!("{verb}={name}"), copy, ok);
    opened.copies.lock().unwrap().insert(thread, name);
}

/// Opens this thread's newest copy as a restored vault, and puts a record into it.
fn use_copy(opened: &Opened, thread: u64) {
    let name = opened.copies.lock().unwrap()[&thread].clone();
    let restored = opened.directory.with_file_name(&name);
    let restore = || {
        let storage = place::open(&restored)?;
        let vault = Vault::open(Arc::clone(&storage), &Fixed(1))?;
        let session = session(&vault);
        accept_restore(&session, "disk lost")?;
        session.put(&restored_record(), RESTORED)?;
        drop((session, vault));
        storage.close().map_err(Error::from)
    };
    print_and_run(thread, &format!("use={name}"), restore, ok);
}

/// The record that [`use_copy`] puts into a copy.
pub(crate) fn restored_record() -> RecordId {
    record("restored", "note")
}

pub(crate) const RESTORED: &[u8] = b"goes on";

/// Runs operations until the first failure, then prints the results of three more puts. Prints each
/// word of the script before its calls.
fn run_until_failure(directory: &Path, script: &str, random: &mut Random) {
    println!("word create");
    let Ok(opened) = catch_unwind(|| open_or_create(directory, false)) else {
        return;
    };
    for word in script.split_whitespace() {
        println!("word {word}");
        let run = AssertUnwindSafe(|| run_word(&opened, 0, word, random));
        if catch_unwind(run).is_ok() {
            continue;
        }
        for number in 0..3 {
            let id = record("probe", &number.to_string());
            println!("then {:?}", session(&opened.vault).put(&id, b"goes on"));
        }
        return;
    }
    let Opened { vault, storage, .. } = opened;
    drop(vault);
    println!("word close");
    let close = || storage.close().map_err(Error::from);
    let _may_fail = catch_unwind(AssertUnwindSafe(|| print_and_run(0, "close", close, ok)));
}
