//! What the child does: verbs in a given order, then it ends.

use std::path::PathBuf;

use crate::child::{carry_out, open_or_create};
use crate::content::Random;

pub(crate) const ROOT: &str = "CHARTLOCK_POWER_DIRECTORY";
pub(crate) const SCRIPT: &str = "CHARTLOCK_POWER_SCRIPT";
pub(crate) const SEED: &str = "CHARTLOCK_POWER_SEED";

/// Every verb that changes a vault, a few of them more than once: on what was there, and on what was not.
pub(crate) const EVERY_VERB: &str = "\
put put put 1:put put-large put-if many remove checkpoint \
put-huge begin collect misfile 1:misfile expunge retain 1:hold rotate-patient \
rotate-master put slots rotate-root 1:put-large reencrypt-patient erase put \
many remove checkpoint reencrypt 1:release 1:expunge put-if collect";

/// Of itself it does nothing.
#[test]
fn is_carried_out() {
    let Some(directory) = std::env::var_os(ROOT).map(PathBuf::from) else {
        return;
    };
    let script = std::env::var(SCRIPT).unwrap();
    let seed = std::env::var(SEED).unwrap();
    let mut random = Random(seed.parse().unwrap());
    let vault = open_or_create(&directory);
    for word in script.split_whitespace() {
        let (patient, verb) = word.split_once(':').unwrap_or(("0", word));
        carry_out(
            &vault,
            0,
            &format!("patient-0-{patient}"),
            verb,
            &mut random,
        );
    }
}
