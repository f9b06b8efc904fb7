//! Scenarios of pairs and trios of processes, and modifiers of scenarios.

use chartlock::{Journaling, Precondition};

use crate::clock::DAYS;
use crate::mutation::Mutation;
use crate::scenario::Scenario;
use crate::state::{Faults, Stalls};
use crate::verbs::{Record, Verb, Verb::*};

const X: Record = (0, 0);
const Y: Record = (0, 1);
/// Records of a patient without an entry.
const NEW: Record = (1, 0);
const NEXT: Record = (1, 1);

/// Setup of a chart with two records, of which the first has two versions.
const CHART: &[Verb] = &[Put(X), Put(X), Put(Y)];
const ONE: &[Verb] = &[Put(X)];
const LARGE: &[Verb] = &[PutLarge(X)];

/// Name of a scenario, its setup, and the operations of each process.
pub(crate) type Pair = (&'static str, &'static [Verb], &'static [&'static [Verb]]);

pub(crate) const WRITERS: &[Pair] = &[
    ("put, put (new record)", &[Put(Y)], &[&[Put(X)], &[Put(X)]]),
    (
        "put, put (new patient)",
        &[Put(X)],
        &[&[Put(NEW)], &[Put(NEW)]],
    ),
    (
        "put_many, put put (new patient)",
        ONE,
        &[&[PutMany(&[NEW, NEXT])], &[Put(NEW), Put(NEXT)]],
    ),
    (
        "put, put large (new patient)",
        ONE,
        &[&[Put(NEW)], &[PutLarge(NEW)]],
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
    ("retract, put", ONE, &[&[Retract(X)], &[Put(X)]]),
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
        "rotate subject, put (next)",
        CHART,
        &[&[RotateSubject(0)], &[Put(X)]],
    ),
    (
        "rotate subject, put (new)",
        ONE,
        &[&[RotateSubject(0)], &[Put(Y)]],
    ),
    (
        "rotate subject, put put",
        ONE,
        &[&[RotateSubject(0)], &[Put(X), Put(X)]],
    ),
    (
        "rotate subject, put_many",
        CHART,
        &[&[RotateSubject(0)], &[PutMany(&[X, Y])]],
    ),
    (
        "rotate subject, put large",
        ONE,
        &[&[RotateSubject(0)], &[PutLarge(X)]],
    ),
    (
        "rotate subject, get history",
        CHART,
        &[&[RotateSubject(0)], &[Get(X), History(X)]],
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

pub(crate) const MASTER_ROTATIONS: &[Pair] = &[
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
        "rotate master, put_many (new patient)",
        ONE,
        &[&[RotateMaster], &[PutMany(&[NEW, NEXT])]],
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
        "erase reopen put, put",
        ONE,
        &[&[Erase(0), ReopenChart(0), Put(X)], &[Put(X)]],
    ),
    (
        "erase reopen put, erase",
        ONE,
        &[&[Erase(0), ReopenChart(0), Put(X)], &[Erase(0)]],
    ),
    (
        "erase reopen, erase reopen",
        ONE,
        &[&[Erase(0), ReopenChart(0)], &[Erase(0), ReopenChart(0)]],
    ),
    (
        "erase, rotate subject",
        ONE,
        &[&[Erase(0)], &[RotateSubject(0)]],
    ),
    ("erase, rotate master", ONE, &[&[Erase(0)], &[RotateMaster]]),
    (
        "erase reopen, rotate master",
        ONE,
        &[&[Erase(0), ReopenChart(0)], &[RotateMaster]],
    ),
    ("erase, reencrypt", ONE, &[&[Erase(0)], &[Reencrypt(0)]]),
    ("erase, get list", ONE, &[&[Erase(0)], &[Get(X), List(0)]]),
    ("erase, put (new patient)", ONE, &[&[Erase(1)], &[Put(NEW)]]),
    (
        "put erase reopen, put (new patient)",
        ONE,
        &[&[Put(NEW), Erase(1), ReopenChart(1)], &[Put(NEW)]],
    ),
];

/// Scenarios after an interrupted put, which wrote the earlier version to the history but not the
/// new version.
pub(crate) const LEFTOVERS: &[Pair] = &[
    ("put | put, put", &[Put(X), Put(X)], &[&[Put(X)], &[Put(X)]]),
    (
        "put | put, rotate put",
        &[Put(X), Put(X)],
        &[&[Put(X)], &[RotateSubject(0), Put(X)]],
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
/// Number of steps of a put before its write of the new version. The steps read the header, the
/// patient entry and the record, and write the earlier version.
pub(crate) const BEFORE_CURRENT: u64 = 4;
/// Numbers of steps before a master rotation destroys the old key, without and with transactions.
pub(crate) const BEFORE_DESTRUCTION: [u64; 2] = [8, 5];

/// Scenarios after an operation that was interrupted at any step.
pub(crate) const RESUMED: &[Pair] = &[
    (
        "rotate subject | again, put",
        &[Put(X), Put(X), RotateSubject(0)],
        &[&[RotateSubject(0)], &[Put(X)]],
    ),
    (
        "reencrypt | again, put",
        &[Put(X), Put(X), Reencrypt(0)],
        &[&[Reencrypt(0)], &[Put(X)]],
    ),
    (
        "reencrypt | rotate subject, put",
        &[Put(X), Reencrypt(0)],
        &[&[RotateSubject(0)], &[Put(X)]],
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
        "erase | again reopen, put",
        &[Put(X), Put(X), Erase(0)],
        &[&[Erase(0), ReopenChart(0)], &[Put(X)]],
    ),
];

/// Scenarios after a master rotation that was interrupted before it destroyed the old key.
pub(crate) const DESTROYED_MASTERS: &[Pair] = &[
    (
        "destroy master, put (next)",
        &[Put(X), RotateMaster],
        &[&[DestroyMaster], &[Put(X)]],
    ),
    (
        "destroy master, put (new patient)",
        &[Put(X), RotateMaster],
        &[&[DestroyMaster], &[Put(NEW)]],
    ),
    (
        "destroy master, destroy master",
        &[Put(X), RotateMaster],
        &[&[DestroyMaster], &[DestroyMaster]],
    ),
    (
        "destroy master, rotate master",
        &[Put(X), RotateMaster],
        &[&[DestroyMaster], &[RotateMaster]],
    ),
];

/// Scenarios of two concurrent rotations or re-encryptions.
pub(crate) const CONCURRENT_ROTATIONS: &[Pair] = &[
    (
        "rotate subject, rotate subject",
        ONE,
        &[&[RotateSubject(0)], &[RotateSubject(0)]],
    ),
    (
        "rotate subject, reencrypt",
        ONE,
        &[&[RotateSubject(0)], &[Reencrypt(0)]],
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
        "rotate subject, rotate master",
        ONE,
        &[&[RotateSubject(0)], &[RotateMaster]],
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

/// Scenarios of three concurrent processes.
pub(crate) const TRIOS: &[Pair] = &[
    (
        "put, put, rotate subject",
        ONE,
        &[&[Put(X)], &[Put(X)], &[RotateSubject(0)]],
    ),
    (
        "put, rotate subject, reencrypt",
        ONE,
        &[&[Put(X)], &[RotateSubject(0)], &[Reencrypt(0)]],
    ),
    (
        "put large, reencrypt, put",
        LARGE,
        &[&[PutLarge(X)], &[Reencrypt(0)], &[Put(X)]],
    ),
    (
        "put, rotate master, rotate subject",
        ONE,
        &[&[Put(X)], &[RotateMaster], &[RotateSubject(0)]],
    ),
    (
        "put, put, rotate master (new patient)",
        ONE,
        &[&[Put(NEW)], &[Put(NEW)], &[RotateMaster]],
    ),
    (
        "put, rotate master, rotate master",
        ONE,
        &[&[Put(NEW)], &[RotateMaster], &[RotateMaster]],
    ),
    (
        "erase reopen, put, erase",
        ONE,
        &[&[Erase(0), ReopenChart(0)], &[Put(X)], &[Erase(0)]],
    ),
    (
        "erase, put, rotate subject",
        ONE,
        &[&[Erase(0)], &[Put(X)], &[RotateSubject(0)]],
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

/// Outage of the journal, which loses the replies to page writes, whether or not the pages are
/// applied.
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

    /// Starts the processes days after the setup, so that the setup's upload intents are abandoned.
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

    /// Interrupts the last operation of the setup after `after` steps.
    pub(crate) fn interrupted(self, after: u64) -> Self {
        Self {
            interrupted: Some(after),
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
