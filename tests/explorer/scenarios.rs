//! What is explored.

use chartlock::{Journaling, Precondition};

use crate::clock::DAYS;
use crate::mutation::Mutation;
use crate::scenario::Scenario;
use crate::state::{Faults, Stalls};
use crate::verbs::{Record, Verb, Verb::*};

const X: Record = (0, 0);
const Y: Record = (0, 1);
const NEW: Record = (1, 0);

/// A chart of one record with a history, and another one.
const CHART: &[Verb] = &[Put(X), Put(X), Put(Y)];
const ONE: &[Verb] = &[Put(X)];
const LARGE: &[Verb] = &[PutLarge(X)];

/// Pairs of verbs: name, setup, processes.
pub(crate) type Pair = (&'static str, &'static [Verb], &'static [&'static [Verb]]);

pub(crate) const WRITERS: &[Pair] = &[
    ("put, put (new record)", &[Put(Y)], &[&[Put(X)], &[Put(X)]]),
    (
        "put, put (new patient)",
        &[Put(X)],
        &[&[Put(NEW)], &[Put(NEW)]],
    ),
    ("put, put (next)", ONE, &[&[Put(X)], &[Put(X)]]),
    ("put put, put", ONE, &[&[Put(X), Put(X)], &[Put(X)]]),
    (
        "put_if, put_if (one wins)",
        ONE,
        &[
            &[PutIf(X, Precondition::Version(1))],
            &[PutIf(X, Precondition::Version(1))],
        ],
    ),
    ("put_many, put", CHART, &[&[PutMany(&[X, Y])], &[Put(X)]]),
    (
        "put_many, put_many",
        ONE,
        &[&[PutMany(&[X, Y])], &[PutMany(&[Y, X])]],
    ),
    ("put large, put", ONE, &[&[PutLarge(X)], &[Put(X)]]),
    ("remove, put", ONE, &[&[Remove(X)], &[Put(X)]]),
    ("put, get", ONE, &[&[Put(X)], &[Get(X)]]),
    ("put, history", CHART, &[&[Put(X)], &[History(X)]]),
    (
        "put, get_version list",
        CHART,
        &[&[Put(X)], &[GetVersion(X, 2), List(0)]],
    ),
];

pub(crate) const ROTATIONS: &[Pair] = &[
    (
        "rotate patient, put (next)",
        CHART,
        &[&[RotatePatient(0)], &[Put(X)]],
    ),
    (
        "rotate patient, put (new)",
        ONE,
        &[&[RotatePatient(0)], &[Put(Y)]],
    ),
    (
        "rotate patient, put put",
        ONE,
        &[&[RotatePatient(0)], &[Put(X), Put(X)]],
    ),
    (
        "rotate patient, put_many",
        CHART,
        &[&[RotatePatient(0)], &[PutMany(&[X, Y])]],
    ),
    (
        "rotate patient, put large",
        ONE,
        &[&[RotatePatient(0)], &[PutLarge(X)]],
    ),
    (
        "rotate patient, get history",
        CHART,
        &[&[RotatePatient(0)], &[Get(X), History(X)]],
    ),
    ("reencrypt, put (next)", ONE, &[&[Reencrypt(0)], &[Put(X)]]),
    ("reencrypt, put (new)", ONE, &[&[Reencrypt(0)], &[Put(Y)]]),
    (
        "reencrypt, put large",
        ONE,
        &[&[Reencrypt(0)], &[PutLarge(X)]],
    ),
    ("reencrypt large, put", LARGE, &[&[Reencrypt(0)], &[Put(X)]]),
    ("reencrypt large, get", LARGE, &[&[Reencrypt(0)], &[Get(X)]]),
];

pub(crate) const MASTERS: &[Pair] = &[
    (
        "rotate master, put (next)",
        ONE,
        &[&[RotateMaster], &[Put(X)]],
    ),
    (
        "rotate master, put put",
        ONE,
        &[&[RotateMaster], &[Put(X), Put(X)]],
    ),
    (
        "rotate master, put (new patient)",
        ONE,
        &[&[RotateMaster], &[Put(NEW)]],
    ),
    (
        "rotate master, get list",
        ONE,
        &[&[RotateMaster], &[Get(X), List(0)]],
    ),
    (
        "rotate master, put large",
        ONE,
        &[&[RotateMaster], &[PutLarge(X)]],
    ),
];

pub(crate) const ERASURES: &[Pair] = &[
    ("erase, put (next)", ONE, &[&[Erase(0)], &[Put(X)]]),
    ("erase, put (new)", ONE, &[&[Erase(0)], &[Put(Y)]]),
    ("erase, put large", ONE, &[&[Erase(0)], &[PutLarge(Y)]]),
    (
        "erase, put_many",
        CHART,
        &[&[Erase(0)], &[PutMany(&[X, Y])]],
    ),
    ("erase, erase", CHART, &[&[Erase(0)], &[Erase(0)]]),
    (
        "erase return put, put",
        ONE,
        &[&[Erase(0), Readmit(0), Put(X)], &[Put(X)]],
    ),
    (
        "erase return put, erase",
        ONE,
        &[&[Erase(0), Readmit(0), Put(X)], &[Erase(0)]],
    ),
    (
        "erase return, erase return",
        ONE,
        &[&[Erase(0), Readmit(0)], &[Erase(0), Readmit(0)]],
    ),
    (
        "erase, rotate patient",
        ONE,
        &[&[Erase(0)], &[RotatePatient(0)]],
    ),
    ("erase, rotate master", ONE, &[&[Erase(0)], &[RotateMaster]]),
    (
        "erase return, rotate master",
        ONE,
        &[&[Erase(0), Readmit(0)], &[RotateMaster]],
    ),
    ("erase, reencrypt", ONE, &[&[Erase(0)], &[Reencrypt(0)]]),
    ("erase, get list", ONE, &[&[Erase(0)], &[Get(X), List(0)]]),
    ("erase, put (new patient)", ONE, &[&[Erase(1)], &[Put(NEW)]]),
];

/// A put that broke off after it had put `h`, and left it in the way.
pub(crate) const LEFTOVERS: &[Pair] = &[
    ("put | put, put", &[Put(X), Put(X)], &[&[Put(X)], &[Put(X)]]),
    (
        "put | put, rotate put",
        &[Put(X), Put(X)],
        &[&[Put(X)], &[RotatePatient(0), Put(X)]],
    ),
    (
        "put | reencrypt large, put",
        &[PutLarge(X), Put(X)],
        &[&[Reencrypt(0)], &[Put(X)]],
    ),
    (
        "put | erase, get",
        &[Put(X), Put(X)],
        &[&[Erase(0)], &[Get(X)]],
    ),
];
/// Steps of a put before its `put r`: v, p, r, h.
pub(crate) const BEFORE_CURRENT: u64 = 4;
/// Steps of a master rotation before the former key is removed, without and with transactions.
pub(crate) const BEFORE_REMOVAL: [u64; 2] = [8, 5];

/// A verb that broke off at any step, and is called again beside a writer or a reader.
pub(crate) const RESUMED: &[Pair] = &[
    (
        "rotate patient | again, put",
        &[Put(X), Put(X), RotatePatient(0)],
        &[&[RotatePatient(0)], &[Put(X)]],
    ),
    (
        "reencrypt | again, put",
        &[Put(X), Put(X), Reencrypt(0)],
        &[&[Reencrypt(0)], &[Put(X)]],
    ),
    (
        "reencrypt | rotate patient, put",
        &[Put(X), Reencrypt(0)],
        &[&[RotatePatient(0)], &[Put(X)]],
    ),
    (
        "reencrypt large | again, put",
        &[PutLarge(X), Reencrypt(0)],
        &[&[Reencrypt(0)], &[Put(X)]],
    ),
    (
        "put large | put, reencrypt",
        &[Put(X), PutLarge(X)],
        &[&[Put(X)], &[Reencrypt(0)]],
    ),
    (
        "rotate master | again, put",
        &[Put(X), RotateMaster],
        &[&[RotateMaster], &[Put(X)]],
    ),
    (
        "rotate master | put (new), put",
        &[Put(X), RotateMaster],
        &[&[Put(NEW)], &[Put(X)]],
    ),
    (
        "erase | again return, put",
        &[Put(X), Put(X), Erase(0)],
        &[&[Erase(0), Readmit(0)], &[Put(X)]],
    ),
];

/// A master rotation that broke off before it removed the former key.
pub(crate) const RETIREMENTS: &[Pair] = &[
    (
        "retire, put (next)",
        &[Put(X), RotateMaster],
        &[&[RetireMaster], &[Put(X)]],
    ),
    (
        "retire, put (new patient)",
        &[Put(X), RotateMaster],
        &[&[RetireMaster], &[Put(NEW)]],
    ),
    (
        "retire, retire",
        &[Put(X), RotateMaster],
        &[&[RetireMaster], &[RetireMaster]],
    ),
    (
        "retire, rotate master",
        &[Put(X), RotateMaster],
        &[&[RetireMaster], &[RotateMaster]],
    ),
];

/// Two walks at once: far more schedules than can be seen, so preemptions are bounded.
pub(crate) const WALKS: &[Pair] = &[
    (
        "rotate patient, rotate patient",
        ONE,
        &[&[RotatePatient(0)], &[RotatePatient(0)]],
    ),
    (
        "rotate patient, reencrypt",
        ONE,
        &[&[RotatePatient(0)], &[Reencrypt(0)]],
    ),
    (
        "reencrypt, reencrypt",
        ONE,
        &[&[Reencrypt(0)], &[Reencrypt(0)]],
    ),
    (
        "reencrypt large, reencrypt",
        LARGE,
        &[&[Reencrypt(0)], &[Reencrypt(0)]],
    ),
    (
        "rotate patient, rotate master",
        ONE,
        &[&[RotatePatient(0)], &[RotateMaster]],
    ),
    (
        "reencrypt, rotate master",
        ONE,
        &[&[Reencrypt(0)], &[RotateMaster]],
    ),
    (
        "rotate master, rotate master",
        ONE,
        &[&[RotateMaster], &[RotateMaster]],
    ),
];

/// Three at once.
pub(crate) const TRIOS: &[Pair] = &[
    (
        "put, put, rotate patient",
        ONE,
        &[&[Put(X)], &[Put(X)], &[RotatePatient(0)]],
    ),
    (
        "put, rotate patient, reencrypt",
        ONE,
        &[&[Put(X)], &[RotatePatient(0)], &[Reencrypt(0)]],
    ),
    (
        "put large, reencrypt, put",
        LARGE,
        &[&[PutLarge(X)], &[Reencrypt(0)], &[Put(X)]],
    ),
    (
        "put, rotate master, rotate patient",
        ONE,
        &[&[Put(X)], &[RotateMaster], &[RotatePatient(0)]],
    ),
    (
        "put, rotate master, rotate master",
        ONE,
        &[&[Put(NEW)], &[RotateMaster], &[RotateMaster]],
    ),
    (
        "erase return, put, erase",
        ONE,
        &[&[Erase(0), Readmit(0)], &[Put(X)], &[Erase(0)]],
    ),
    (
        "erase, put, rotate patient",
        ONE,
        &[&[Erase(0)], &[Put(X)], &[RotatePatient(0)]],
    ),
];

pub(crate) const CRASH: Faults = Faults {
    most: 1,
    crash: true,
    unknown: false,
    outage: false,
};
pub(crate) const UNKNOWN: Faults = Faults {
    most: 1,
    crash: false,
    unknown: true,
    outage: false,
};

pub(crate) const TWO: Faults = Faults {
    most: 2,
    crash: true,
    unknown: true,
    outage: false,
};

/// Nobody hears of a page any more, whether it lands or not.
pub(crate) const OUTAGE: Faults = Faults {
    most: 1,
    crash: false,
    unknown: false,
    outage: true,
};

pub(crate) fn scenarios(pairs: &[Pair]) -> Vec<Scenario> {
    let scenario = |(name, setup, processes): &Pair| Scenario::new(name, setup, processes);
    pairs.iter().map(scenario).collect()
}

impl Scenario {
    pub(crate) const fn transactional(self) -> Self {
        Self {
            transactional: true,
            ..self
        }
    }

    /// Days after the setup, so that what it left is old.
    pub(crate) const fn days_later(self) -> Self {
        Self {
            later: DAYS,
            ..self
        }
    }

    pub(crate) fn cold(self) -> Self {
        Self {
            warm: false,
            ..self
        }
    }

    pub(crate) const fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    pub(crate) const fn endless(self) -> Self {
        Self {
            stalls: Stalls::Endless,
            ..self
        }
    }

    pub(crate) fn bound(self, bound: u32) -> Self {
        Self {
            bound: Some(bound),
            ..self
        }
    }

    /// The last verb of the setup breaks off after so many steps.
    pub(crate) fn broken(self, after: u64) -> Self {
        Self {
            broken: Some(after),
            ..self
        }
    }

    pub(crate) const fn journaled(self, mode: Journaling) -> Self {
        Self {
            journal: Some(mode),
            ..self
        }
    }

    pub(crate) fn mutation(self, mutation: Mutation) -> Self {
        Self { mutation, ..self }
    }

    pub(crate) fn most(self, most: u64) -> Self {
        Self { most, ..self }
    }
}
