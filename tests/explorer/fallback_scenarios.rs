//! Scenarios with a journal fallback, and the pages of spools after an execution.

use chartlock::{Error, Vault};

use crate::common::objects::keys_of;
use crate::common::session;
use crate::final_state::FinalState;
use crate::model::{Call, Model};
use crate::scenarios::Pair;
use crate::verbs::{Answer, Record, Verb, Verb::*};

const X: Record = (0, 0);
const Y: Record = (0, 1);
const ONE: &[Verb] = &[Put(X)];
const FALLBACK: &[Verb] = &[
    FillDisk,
    BeginFallback,
    Get(X),
    FreeDisk,
    EndFallback,
    Get(X),
];

pub(crate) const FALLBACKS: &[Pair] = &[
    ("fallback: read end, put", ONE, &[FALLBACK, &[Put(X)]]),
    (
        "fallback: put read end, read",
        ONE,
        &[
            &[
                Put(Y),
                FillDisk,
                BeginFallback,
                Get(X),
                FreeDisk,
                EndFallback,
            ],
            &[Get(X)],
        ],
    ),
    (
        "fallback: unfinished, put",
        ONE,
        &[&[Put(Y), FillDisk, BeginFallback, Get(X)], &[Put(X)]],
    ),
    (
        "fallback: on healthy vault, put",
        ONE,
        &[&[BeginFallback, Get(X)], &[Put(X)]],
    ),
    ("fallback: two, two", ONE, &[FALLBACK, FALLBACK]),
    ("fallback: read end, erase", ONE, &[FALLBACK, &[Erase(0)]]),
];

pub(crate) const FALLBACK_AND_ROTATION: &[Pair] = &[
    (
        "fallback: read end, rotate journal",
        ONE,
        &[FALLBACK, &[RotateJournal]],
    ),
    (
        "fallback: read end, rotate journal twice",
        ONE,
        &[FALLBACK, &[RotateJournal, RotateJournal]],
    ),
];

impl Model<'_> {
    /// Returns `true` if the process could not write the vault's storage during a call.
    pub(crate) fn is_disk_full(&self, call: &Call) -> bool {
        self.last_of(call, &[FillDisk, FreeDisk]) == Some(FillDisk)
    }

    /// Returns the last of some operations that a process ran before a call.
    fn last_of(&self, call: &Call, verbs: &[Verb]) -> Option<Verb> {
        let before = self.calls.iter().filter(|other| {
            other.process == call.process && other.index < call.index && verbs.contains(&other.verb)
        });
        before.map(|call| call.verb).next_back()
    }

    /// Returns `true` if a process did not end a fallback.
    fn is_in_fallback(&self, process: usize) -> bool {
        let calls = self.calls.iter().filter(|call| call.process == process);
        let done = calls.filter(|call| matches!(call.answer, Some(Answer::Done)));
        let last = done.filter(|call| matches!(call.verb, BeginFallback | EndFallback));
        let last = last.map(|call| call.verb).next_back();
        last.is_none_or(|verb| verb == BeginFallback)
    }
}

impl FinalState<'_> {
    /// Brings home the pages of the fallbacks that no process ended.
    pub(crate) fn bring_home(&self, vault: &Vault, violations: &mut Vec<String>) {
        for (process, spool) in self.spools.iter().enumerate() {
            if keys_of(&**spool, b"").is_empty() || !self.model.is_in_fallback(process) {
                continue;
            }
            let brought = session(vault).bring_journal_home("after a restart", spool);
            match brought {
                Ok(_) => {}
                Err(Error::Denied) => unreachable!("there is no policy"),
                Err(error) => violations.push(format!("a spool does not come home: {error:?}")),
            }
        }
    }
}
