//! Scenarios with a journal, in which processes change and read records concurrently.

use crate::scenarios::Pair;
use crate::verbs::{Record, Verb, Verb::*};

const X: Record = (0, 0);
const Y: Record = (0, 1);
const NEW: Record = (1, 0);
const ONE: &[Verb] = &[Put(X)];

pub(crate) const JOURNALED: &[Pair] = &[
    ("journal: put, put (next)", ONE, &[&[Put(X)], &[Put(X)]]),
    ("journal: put, put (other)", ONE, &[&[Put(X)], &[Put(Y)]]),
    (
        "journal: put, put (new patient)",
        ONE,
        &[&[Put(NEW)], &[Put(NEW)]],
    ),
    (
        "journal: put_many, put",
        ONE,
        &[&[PutMany(&[X, Y])], &[Put(X)]],
    ),
    ("journal: put large, put", ONE, &[&[PutLarge(X)], &[Put(X)]]),
    ("journal: retract, put", ONE, &[&[Retract(X)], &[Put(X)]]),
    (
        "journal: put, get history list",
        ONE,
        &[&[Put(X)], &[Get(X), History(X), List(0)]],
    ),
    ("journal: erase, put (next)", ONE, &[&[Erase(0)], &[Put(X)]]),
    ("journal: erase, put (new)", ONE, &[&[Erase(0)], &[Put(Y)]]),
    ("journal: erase, erase", ONE, &[&[Erase(0)], &[Erase(0)]]),
    ("journal: erase, get", ONE, &[&[Erase(0)], &[Get(X)]]),
    (
        "journal: erase reopen put, put",
        ONE,
        &[&[Erase(0), ReopenChart(0), Put(X)], &[Put(X)]],
    ),
    (
        "journal: rotate subject, put",
        ONE,
        &[&[RotateSubject(0)], &[Put(X)]],
    ),
    (
        "journal: reencrypt, put",
        ONE,
        &[&[Reencrypt(0)], &[Put(X)]],
    ),
    (
        "journal: rotate master, put",
        ONE,
        &[&[RotateMaster], &[Put(X)]],
    ),
    (
        "journal: rotate master, put (new)",
        ONE,
        &[&[RotateMaster], &[Put(NEW)]],
    ),
    ("journal: verify, put (next)", ONE, &[&[Verify], &[Put(X)]]),
    ("journal: verify, put (new)", ONE, &[&[Verify], &[Put(NEW)]]),
    (
        "journal: verify, put large",
        ONE,
        &[&[Verify], &[PutLarge(X)]],
    ),
    ("journal: verify, erase", ONE, &[&[Verify], &[Erase(0)]]),
    (
        "journal: verify, rotate subject",
        ONE,
        &[&[Verify], &[RotateSubject(0)]],
    ),
    (
        "journal: verify, reencrypt",
        ONE,
        &[&[Verify], &[Reencrypt(0)]],
    ),
    (
        "journal: verify, rotate master",
        ONE,
        &[&[Verify], &[RotateMaster]],
    ),
    ("journal: hold, erase", ONE, &[&[Hold(0)], &[Erase(0)]]),
];

pub(crate) const JOURNALED_TRIOS: &[Pair] = &[
    (
        "journal: put, put, reencrypt",
        ONE,
        &[&[Put(X)], &[Put(X)], &[Reencrypt(0)]],
    ),
    (
        "journal: put, erase, rotate master",
        ONE,
        &[&[Put(X)], &[Erase(0)], &[RotateMaster]],
    ),
];
