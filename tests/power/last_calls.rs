//! System calls of each operation, and the selection of those that fail.

use std::collections::BTreeMap;

use crate::trace::{Argument, Call};

/// Scripts whose last word is the operation in which a call fails. The earlier words prepare the
/// vault.
pub(crate) const SCRIPTS: [&str; 26] = [
    "put put",
    "put-large",
    "put put-if",
    "put many",
    "many put remove",
    "put checkpoint",
    "put put-large backup",
    "put put-large archive",
    "put backup use",
    "put archive use",
    "put-huge",
    "put begin",
    "begin collect",
    "misfile",
    "misfile expunge",
    "put retain",
    "put hold",
    "put hold release",
    "put many rotate-patient",
    "put rotate-master",
    "put slots",
    "put rotate-root",
    "put many reencrypt-patient",
    "put many reencrypt",
    "put many erase",
    "many put-huge erase compact",
];

pub(crate) const ERRORS: [&str; 4] = ["EIO", "ENOSPC", "EROFS", "EMFILE"];

/// The system calls that the tests make fail.
const CALLS: [&str; 8] = [
    "fsync",
    "pwrite64",
    "rename",
    "ftruncate",
    "unlink",
    "write",
    "openat",
    "mkdir",
];

/// Ordinal numbers of the calls of one operation, by system call, as `when=` of `strace` expects them.
/// `strace` counts each system call separately in each thread.
pub(crate) type Numbers = BTreeMap<&'static str, Vec<u64>>;

/// Returns the ordinal numbers of the calls that the child's thread made for a word of its script.
/// Excludes writes to standard output.
pub(crate) fn numbers(calls: &[Call], word: &str) -> Numbers {
    let line = format!("word {word}\n");
    let is_line = |call: &Call| printed(call).is_some_and(|text| text.ends_with(&line));
    let start = calls.iter().rposition(is_line).unwrap();
    let thread = calls[start].thread;
    let mut counts = BTreeMap::<&str, u64>::new();
    let mut numbers = Numbers::new();
    for (index, call) in calls.iter().enumerate() {
        if call.thread != thread {
            continue;
        }
        if index > start && printed(call).is_some_and(|text| text.contains("word ")) {
            break;
        }
        let Some(name) = CALLS.into_iter().find(|name| *name == call.name) else {
            continue;
        };
        let count = counts.entry(name).or_default();
        *count += 1;
        if index > start && printed(call).is_none() {
            numbers.entry(name).or_default().push(*count);
        }
    }
    numbers
}

/// Returns the largest number of calls of a kind that one thread made.
pub(crate) fn most(calls: &[Call], name: &str) -> usize {
    let mut counts = BTreeMap::<u64, usize>::new();
    for call in calls.iter().filter(|call| call.name == name) {
        *counts.entry(call.thread).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// Returns the text of a write to standard output; `None` for any other call.
fn printed(call: &Call) -> Option<&str> {
    match &call.arguments[..] {
        [Argument::Number(1), Argument::Bytes(bytes), ..] if call.name == "write" => {
            std::str::from_utf8(bytes).ok()
        }
        _ => None,
    }
}
