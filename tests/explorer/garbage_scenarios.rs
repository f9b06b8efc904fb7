//! Scenarios with large content and garbage collection.

use crate::scenarios::Pair;
use crate::verbs::{Record, Verb, Verb::*};

const X: Record = (0, 0);
const ONE: &[Verb] = &[Put(X)];
const LARGE: &[Verb] = &[PutLarge(X)];

/// Uploads while another process collects garbage.
pub(crate) const GARBAGE: &[Pair] = &[
    (
        "put large, collect",
        ONE,
        &[&[PutLarge(X)], &[CollectGarbage]],
    ),
    (
        "put large, wait collect",
        ONE,
        &[&[PutLarge(X)], &[Wait, CollectGarbage]],
    ),
    (
        "put large (next), collect get",
        LARGE,
        &[&[PutLarge(X)], &[CollectGarbage, Get(X)]],
    ),
    (
        "put large (next), put large",
        LARGE,
        &[&[PutLarge(X)], &[PutLarge(X)]],
    ),
    (
        "put over large, collect",
        LARGE,
        &[&[Put(X)], &[CollectGarbage]],
    ),
    ("collect, get", LARGE, &[&[CollectGarbage], &[Get(X)]]),
    (
        "reencrypt large, collect",
        LARGE,
        &[&[Reencrypt(0)], &[CollectGarbage]],
    ),
    (
        "reencrypt large, wait collect",
        LARGE,
        &[&[Reencrypt(0)], &[Wait, CollectGarbage]],
    ),
    (
        "rotate subject large, collect",
        LARGE,
        &[&[RotateSubject(0)], &[CollectGarbage]],
    ),
    (
        "erase large, collect",
        LARGE,
        &[&[Erase(0)], &[CollectGarbage]],
    ),
    (
        "erase reopen put large, collect",
        LARGE,
        &[&[Erase(0), ReopenChart(0), PutLarge(X)], &[CollectGarbage]],
    ),
];

/// Three processes, one of which collects garbage.
pub(crate) const GARBAGE_TRIOS: &[Pair] = &[
    (
        "put large, put, wait collect",
        LARGE,
        &[&[PutLarge(X)], &[Put(X)], &[Wait, CollectGarbage]],
    ),
    (
        "reencrypt large, put, collect",
        LARGE,
        &[&[Reencrypt(0)], &[Put(X)], &[CollectGarbage]],
    ),
];

/// Garbage collection with a clock that is days ahead, so that the collector treats the intents of
/// running uploads as abandoned.
pub(crate) const CLOCK_AHEAD: &[Pair] = &[
    (
        "put large, collect ahead",
        ONE,
        &[&[PutLarge(X)], &[CollectGarbageAhead]],
    ),
    (
        "reencrypt large, collect ahead",
        LARGE,
        &[&[Reencrypt(0)], &[CollectGarbageAhead]],
    ),
];

/// Uploads that were interrupted at any step, and are collected while another process works.
pub(crate) const ABANDONED_UPLOADS: &[Pair] = &[
    (
        "put large | collect, put",
        &[Put(X), PutLarge(X)],
        &[&[CollectGarbage], &[Put(X)]],
    ),
    (
        "put large | collect, collect",
        &[Put(X), PutLarge(X)],
        &[&[CollectGarbage], &[CollectGarbage]],
    ),
    (
        "put large | collect, put large",
        &[PutLarge(X), PutLarge(X)],
        &[&[CollectGarbage], &[PutLarge(X)]],
    ),
    (
        "reencrypt large | collect, get",
        &[PutLarge(X), Reencrypt(0)],
        &[&[CollectGarbage], &[Get(X)]],
    ),
    (
        "reencrypt large | collect, again",
        &[PutLarge(X), Reencrypt(0)],
        &[&[CollectGarbage], &[Reencrypt(0)]],
    ),
    (
        "erase large | collect, again",
        &[PutLarge(X), Erase(0)],
        &[&[CollectGarbage], &[Erase(0)]],
    ),
];
