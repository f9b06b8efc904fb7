//! Scenarios in which the journal keys are rotated beside other processes, some of them attackers.

use crate::scenarios::Pair;
use crate::verbs::{Record, Verb, Verb::*};

const X: Record = (0, 0);
const Y: Record = (0, 1);
const NEW: Record = (1, 0);
const ONE: &[Verb] = &[Put(X)];
/// A former insider has the keys from before the rotation.
const ROTATED: &[Verb] = &[Put(X), RotateJournal];

pub(crate) const JOURNAL_KEYS: &[Pair] = &[
    (
        "rotate journal, put (next)",
        ONE,
        &[&[RotateJournal], &[Put(X)]],
    ),
    (
        "rotate journal, put put",
        ONE,
        &[&[RotateJournal], &[Put(Y), Put(NEW)]],
    ),
    (
        "rotate journal put, get",
        ONE,
        &[&[RotateJournal, Put(X)], &[Get(X)]],
    ),
    (
        "rotate journal, put large",
        ONE,
        &[&[RotateJournal], &[PutLarge(X)]],
    ),
    (
        "rotate journal, erase",
        ONE,
        &[&[RotateJournal], &[Erase(0)]],
    ),
    (
        "rotate journal, rotate master",
        ONE,
        &[&[RotateJournal], &[RotateMaster]],
    ),
    (
        "rotate journal, rotate journal",
        ONE,
        &[&[RotateJournal], &[RotateJournal]],
    ),
];

pub(crate) const ROTATION_AND_VERIFICATION: &[Pair] = &[
    (
        "rotate journal, verify",
        ONE,
        &[&[RotateJournal], &[Verify]],
    ),
    (
        "rotate journal put, verify",
        ONE,
        &[&[RotateJournal, Put(X)], &[Verify]],
    ),
];

pub(crate) const ATTACKED_KEYS: &[Pair] = &[
    (
        "rotate journal put, plant late",
        ROTATED,
        &[&[RotateJournal, Put(X)], &[PlantLate]],
    ),
    (
        "rotate journal put, plant forged",
        ROTATED,
        &[&[RotateJournal, Put(X)], &[PlantForged]],
    ),
    (
        "put get, plant late",
        ROTATED,
        &[&[Put(Y), Get(X)], &[PlantLate]],
    ),
];

pub(crate) const JOURNAL_KEY_TRIOS: &[Pair] = &[(
    "rotate journal, put, erase",
    ONE,
    &[&[RotateJournal], &[Put(X)], &[Erase(0)]],
)];

/// Scenarios after an interrupted rotation of the journal keys.
pub(crate) const INTERRUPTED_JOURNAL_KEYS: &[Pair] = &[
    (
        "rotate journal | again, put",
        ROTATED,
        &[&[RotateJournal], &[Put(X)]],
    ),
    (
        "rotate journal | put, get",
        ROTATED,
        &[&[Put(X)], &[Get(X)]],
    ),
];
