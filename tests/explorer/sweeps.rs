//! What is explored of large content, and of sweeps.

use crate::scenarios::Pair;
use crate::verbs::{Record, Verb, Verb::*};

const X: Record = (0, 0);
const ONE: &[Verb] = &[Put(X)];
const LARGE: &[Verb] = &[PutLarge(X)];

/// Uploads beside whoever looks for garbage.
pub(crate) const SWEEPS: &[Pair] = &[
    ("put large, sweep", ONE, &[&[PutLarge(X)], &[Sweep]]),
    (
        "put large, wait sweep",
        ONE,
        &[&[PutLarge(X)], &[Wait, Sweep]],
    ),
    (
        "put large (next), sweep get",
        LARGE,
        &[&[PutLarge(X)], &[Sweep, Get(X)]],
    ),
    (
        "put large (next), put large",
        LARGE,
        &[&[PutLarge(X)], &[PutLarge(X)]],
    ),
    ("put over large, sweep", LARGE, &[&[Put(X)], &[Sweep]]),
    ("sweep, get", LARGE, &[&[Sweep], &[Get(X)]]),
    (
        "reencrypt large, sweep",
        LARGE,
        &[&[Reencrypt(0)], &[Sweep]],
    ),
    (
        "reencrypt large, wait sweep",
        LARGE,
        &[&[Reencrypt(0)], &[Wait, Sweep]],
    ),
    (
        "rotate patient large, sweep",
        LARGE,
        &[&[RotatePatient(0)], &[Sweep]],
    ),
    ("erase large, sweep", LARGE, &[&[Erase(0)], &[Sweep]]),
    (
        "erase return put large, sweep",
        LARGE,
        &[&[Erase(0), Readmit(0), PutLarge(X)], &[Sweep]],
    ),
];

/// Three at once, one of whom sweeps.
pub(crate) const SWEPT_TRIOS: &[Pair] = &[
    (
        "put large, put, wait sweep",
        LARGE,
        &[&[PutLarge(X)], &[Put(X)], &[Wait, Sweep]],
    ),
    (
        "reencrypt large, put, sweep",
        LARGE,
        &[&[Reencrypt(0)], &[Put(X)], &[Sweep]],
    ),
];

/// Where a transaction is whole, intents of writers who are at it may be taken for abandoned.
pub(crate) const HASTY: &[Pair] = &[
    (
        "put large, sweep ahead",
        ONE,
        &[&[PutLarge(X)], &[SweepAhead]],
    ),
    (
        "reencrypt large, sweep ahead",
        LARGE,
        &[&[Reencrypt(0)], &[SweepAhead]],
    ),
];

/// Uploads that broke off at any step, and are swept beside others.
pub(crate) const ABANDONED: &[Pair] = &[
    (
        "put large | sweep, put",
        &[Put(X), PutLarge(X)],
        &[&[Sweep], &[Put(X)]],
    ),
    (
        "put large | sweep, sweep",
        &[Put(X), PutLarge(X)],
        &[&[Sweep], &[Sweep]],
    ),
    (
        "put large | sweep, put large",
        &[PutLarge(X), PutLarge(X)],
        &[&[Sweep], &[PutLarge(X)]],
    ),
    (
        "reencrypt large | sweep, get",
        &[PutLarge(X), Reencrypt(0)],
        &[&[Sweep], &[Get(X)]],
    ),
    (
        "reencrypt large | sweep, again",
        &[PutLarge(X), Reencrypt(0)],
        &[&[Sweep], &[Reencrypt(0)]],
    ),
    (
        "erase large | sweep, again",
        &[PutLarge(X), Erase(0)],
        &[&[Sweep], &[Erase(0)]],
    ),
];
