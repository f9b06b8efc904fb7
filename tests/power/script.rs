//! What the child does: verbs in a given order, then it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use chartlock::Vault;

use crate::child::{carry_out, open_or_create};
use crate::common::{record, session};
use crate::content::Random;

pub(crate) const ROOT: &str = "CHARTLOCK_POWER_DIRECTORY";
pub(crate) const SCRIPT: &str = "CHARTLOCK_POWER_SCRIPT";
pub(crate) const SEED: &str = "CHARTLOCK_POWER_SEED";
pub(crate) const FAULT: &str = "CHARTLOCK_POWER_FAULT";

/// Every verb that changes a vault, a few of them more than once: on what was there, and on what was not.
pub(crate) const EVERY_VERB: &str = "\
put put put 1:put put-large put-if many remove checkpoint \
put-huge begin collect misfile 1:misfile expunge retain 1:hold rotate-patient \
rotate-master put slots rotate-root 1:put-large reencrypt-patient erase put \
many remove checkpoint reencrypt 1:release 1:expunge put-if collect";

/// Every verb again, for a child in which a call fails: only on the first patient, as what came of the verb
/// that failed is open from then on.
pub(crate) fn every_verb_on_one() -> String {
    let words = EVERY_VERB.split_whitespace();
    let mut words: Vec<_> = words.filter(|word| !word.starts_with("1:")).collect();
    // Only what is held can be released; and misfiled it was once.
    words.extend(["hold", "release", "misfile", "expunge"]);
    words.join(" ")
}

/// Of itself it does nothing.
#[test]
fn is_carried_out() {
    let Some(directory) = std::env::var_os(ROOT).map(PathBuf::from) else {
        return;
    };
    let script = std::env::var(SCRIPT).unwrap();
    let seed = std::env::var(SEED).unwrap();
    let mut random = Random(seed.parse().unwrap());
    if std::env::var_os(FAULT).is_some() {
        return end_with_the_fault(&directory, &script, &mut random);
    }
    let vault = open_or_create(&directory);
    for word in script.split_whitespace() {
        obey(&vault, word, &mut random);
    }
}

fn obey(vault: &Vault, word: &str, random: &mut Random) {
    let (patient, verb) = word.split_once(':').unwrap_or(("0", word));
    carry_out(vault, 0, &format!("patient-0-{patient}"), verb, random);
}

/// After the first verb that fails, says how three more puts fare.
fn end_with_the_fault(directory: &Path, script: &str, random: &mut Random) {
    let Ok(vault) = catch_unwind(|| open_or_create(directory)) else {
        return;
    };
    for word in script.split_whitespace() {
        if catch_unwind(AssertUnwindSafe(|| obey(&vault, word, random))).is_ok() {
            continue;
        }
        for number in 0..3 {
            let id = record("probe", &number.to_string());
            println!("then {:?}", session(&vault).put(&id, b"goes on"));
        }
        return;
    }
}
