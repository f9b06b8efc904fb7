//! Child process that runs a script of operations in order and then exits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use chartlock::Vault;

use crate::child::{open_or_create, run_verb};
use crate::common::{record, session};
use crate::content::Random;

pub(crate) const ROOT: &str = "CHARTLOCK_POWER_DIRECTORY";
pub(crate) const SCRIPT: &str = "CHARTLOCK_POWER_SCRIPT";
pub(crate) const SEED: &str = "CHARTLOCK_POWER_SEED";
pub(crate) const FAULT: &str = "CHARTLOCK_POWER_FAULT";

/// Script with every operation that changes a vault. Some operations occur more than once, on
/// existing and on missing records.
pub(crate) const EVERY_VERB: &str = "\
put put put 1:put put-large put-if many remove checkpoint \
put-huge begin collect misfile 1:misfile expunge retain 1:hold rotate-patient \
rotate-master put slots rotate-root 1:put-large reencrypt-patient erase put \
many remove checkpoint reencrypt 1:release 1:expunge put-if collect";

/// Returns a script with every operation, for a child in which a call fails. All operations change
/// the first patient, because the outcome of the failed operation is unknown from then on.
pub(crate) fn every_verb_on_one() -> String {
    let words = EVERY_VERB.split_whitespace();
    let mut words: Vec<_> = words.filter(|word| !word.starts_with("1:")).collect();
    // Add pairs of operations, because a hold must exist to be lifted, and a record must be
    // misfiled to be expunged.
    words.extend(["hold", "release", "misfile", "expunge"]);
    words.join(" ")
}

/// Runs the script if the parent set the environment variables. Otherwise returns at once, because
/// the test runner also calls this function.
#[test]
fn child_runs_script() {
    let Some(directory) = std::env::var_os(ROOT).map(PathBuf::from) else {
        return;
    };
    let script = std::env::var(SCRIPT).unwrap();
    let seed = std::env::var(SEED).unwrap();
    let mut random = Random(seed.parse().unwrap());
    if std::env::var_os(FAULT).is_some() {
        return run_until_failure(&directory, &script, &mut random);
    }
    let vault = open_or_create(&directory);
    for word in script.split_whitespace() {
        run_word(&vault, word, &mut random);
    }
}

fn run_word(vault: &Vault, word: &str, random: &mut Random) {
    let (patient, verb) = word.split_once(':').unwrap_or(("0", word));
    run_verb(vault, 0, &format!("patient-0-{patient}"), verb, random);
}

/// Runs operations until the first failure, then prints the results of three more puts.
fn run_until_failure(directory: &Path, script: &str, random: &mut Random) {
    let Ok(vault) = catch_unwind(|| open_or_create(directory)) else {
        return;
    };
    for word in script.split_whitespace() {
        if catch_unwind(AssertUnwindSafe(|| run_word(&vault, word, random))).is_ok() {
            continue;
        }
        for number in 0..3 {
            let id = record("probe", &number.to_string());
            println!("then {:?}", session(&vault).put(&id, b"goes on"));
        }
        return;
    }
}
