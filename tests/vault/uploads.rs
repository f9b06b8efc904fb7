//! Large puts that break off at any step, and large puts that meet: the old version is there whole,
//! or the new one is; nothing counts by half, and nothing is uploaded twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chartlock::internals::envelope::{CHUNK, Head, Kind, SEGMENT, padme};
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Faulty, StorageError};
use chartlock::{Error, Precondition, RecordId, Vault};

use crate::clock::LONG_AGO;
use crate::common::clock::ManualClock;
use crate::raw::{self, Objects};
use crate::stage::{Shared, Stage, content, record, session, verdict_at};

everywhere!(
    broken_off_anywhere,
    broken_off_with_threads,
    broken_off_as_a_first_version,
    undecided_while_nobody_can_tell,
    met_anywhere,
    met_anywhere_with_an_expectation,
    erased_anywhere,
);

const VERDICTS: [FaultAction; 6] = [
    FaultAction::Fail(StorageError::Io(ErrorKind::BrokenPipe)),
    FaultAction::Stop,
    FaultAction::StopAfter,
    FaultAction::Unknown(FaultOutcome::Applied),
    FaultAction::Unknown(FaultOutcome::Lost),
    FaultAction::Unknown(FaultOutcome::Later),
];

fn id() -> RecordId {
    record("MRN-1", "CT/1")
}

/// Opens it as a process in which `hook` decides over every step, with so many threads.
fn open_with(
    stage: &Stage,
    threads: usize,
    hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
) -> (Vault, Arc<Faulty<Shared>>) {
    let options = stage.options().clock(Arc::new(ManualClock::at(LONG_AGO)));
    let options = options.threads(NonZeroUsize::new(threads).unwrap());
    stage.open_faulty(options, hook)
}

/// One large put, to be broken off.
struct Put<'a> {
    stage: &'a Stage,
    /// What stands before.
    before: Objects,
    old: Option<Vec<u8>>,
    new: Vec<u8>,
    threads: usize,
}

impl<'a> Put<'a> {
    fn new(stage: &'a Stage, old: Option<usize>, new: usize, threads: usize) -> Self {
        let vault = stage.create();
        let old = old.map(|length| content(1, length));
        if let Some(old) = &old {
            session(&vault).put(&id(), old).unwrap();
        }
        Self {
            stage,
            before: raw::objects(&stage.storage),
            old,
            new: content(2, new),
            threads,
        }
    }

    /// How many steps it takes when nothing fails.
    fn steps(&self) -> u64 {
        let (vault, faulty) = open_with(self.stage, self.threads, |_, _| FaultAction::Proceed);
        let opened = faulty.steps();
        session(&vault).put_reader(&id(), &self.new[..]).unwrap();
        faulty.steps() - opened
    }

    fn broken_off_at(&self, step: u64, verdict: FaultAction) {
        raw::reset(&self.stage.storage, &self.before);
        let hook = verdict_at(step, verdict);
        let (vault, faulty) = open_with(self.stage, self.threads, hook);
        let outcome = session(&vault).put_reader(&id(), &self.new[..]);
        drop(vault);
        while faulty.land().is_some() {}
        let stands = self.stands_whole();
        let versions = u64::from(self.old.is_some());
        match outcome {
            Ok(version) => assert_eq!((version, stands), (versions + 1, true)),
            Err(Error::CommitUnknown) => assert!(!matches!(verdict, FaultAction::Fail(_))),
            Err(error) => {
                assert!(matches!(error, Error::Storage(_)), "{error:?}");
                let surely_not = self.stage.storage.is_transactional();
                assert!(!stands || !surely_not || verdict == FaultAction::StopAfter);
            }
        }
        // Who is told of a failure has cleared up what surely counts for nothing.
        let cleared =
            matches!(verdict, FaultAction::Fail(_)) && self.stage.storage.is_transactional();
        self.nothing_by_half(usize::from(!cleared));
        self.collected(stands);
    }

    /// Whether the new version stands, whole, behind the old one, or only that one, whole.
    fn stands_whole(&self) -> bool {
        let vault = self.stage.open();
        let chart = session(&vault);
        let mut versions: Vec<_> = self.old.iter().collect();
        let history = chart.history(&id()).unwrap();
        let stands = history.len() > versions.len();
        versions.extend(stands.then_some(&self.new));
        assert_eq!(history.len(), versions.len());
        for (version, expected) in (1..).zip(&versions) {
            let found = chart.get_version(&id(), version).unwrap().unwrap();
            assert!(found[..] == expected[..]);
        }
        let now = chart.get(&id()).unwrap();
        assert!(now.as_deref() == versions.last().map(|now| &now[..]));
        stands
    }

    /// Every segment that a version names is there, and what none names is left of so many uploads.
    fn nothing_by_half(&self, left: usize) {
        let objects = raw::objects(&self.stage.storage);
        let stored = objects.keys().filter(|key| matches!(key[0], b's' | b'w'));
        let stored: BTreeSet<_> = stored.map(|key| key[1..33].to_vec()).collect();
        let versions = objects.iter().filter(|(key, value)| {
            matches!(key[0], b'r' | b'h') && Head::parse(value).unwrap().kind == Kind::Segmented
        });
        // A version that was about to move stands in two places.
        let named = versions.map(|(key, value)| [&key[1..17], &value[96..112]].concat());
        let named: BTreeSet<_> = named.collect();
        assert!(named.is_subset(&stored));
        assert!(stored.difference(&named).count() <= left);
    }
}

impl Put<'_> {
    /// Later, by the machine's own clock, what is left is freed: what remains is what a vault holds
    /// in which nothing broke off.
    fn collected(&self, stands: bool) {
        let vault = self.stage.open();
        let report = vault.collect_garbage().unwrap();
        let left_alone = [
            report.uploads_under_way,
            report.charts_passed_over,
            report.misnamed_streams,
            report.unknown_charts,
            report.unreadable_entries,
        ];
        assert_eq!(left_alone, [0; 5]);
        self.nothing_by_half(0);
        assert_eq!(self.stands_whole(), stands);
        let versions = 1 + usize::from(self.old.is_some()) + usize::from(stands);
        let put = session(&vault).put(&id(), b"goes on");
        assert_eq!(put, Ok(versions as u64));
        let lengths = self
            .old
            .iter()
            .chain(stands.then_some(&self.new))
            .map(Vec::len);
        let large = lengths.filter(|length| *length > CHUNK);
        let segments = large.map(|length| (padme(length as u64) as usize).div_ceil(SEGMENT));
        let expected = [1, 1, 1, versions - 1, segments.sum(), 0];
        assert_eq!(raw::counts(&self.stage.storage), expected);
    }
}

fn broken_off(put: &Put<'_>, verdicts: &[FaultAction], stride: usize) {
    let steps = put.steps();
    assert!(steps >= 6);
    for step in (0..steps).step_by(stride) {
        for verdict in verdicts {
            put.broken_off_at(step, *verdict);
        }
    }
}

fn broken_off_anywhere(stage: &Stage) {
    let put = Put::new(stage, Some(CHUNK + 5), SEGMENT + 1, 1);
    // What takes long elsewhere is not the number of steps.
    broken_off(&put, &VERDICTS, 1);
}

/// Enough segments for several threads to send them.
fn broken_off_with_threads(stage: &Stage) {
    let put = Put::new(stage, Some(10), 2 * SEGMENT + 1, 14);
    broken_off(&put, &VERDICTS[..3], stage.stride);
}

fn broken_off_as_a_first_version(stage: &Stage) {
    let put = Put::new(stage, None, CHUNK + 5, 2);
    broken_off(&put, &VERDICTS, 1);
}

/// Nobody said whether the version was written, and nothing can be asked any more.
fn undecided_while_nobody_can_tell(stage: &Stage) {
    drop(stage.create());
    for (version, length) in [(1, 10), (2, CHUNK + 5)] {
        let sent = AtomicBool::new(false);
        let (vault, _) = open_with(stage, 2, move |_, moment| {
            let last = matches!(moment, FaultPoint::Commit(operations)
                if raw::puts(operations).any(|(key, _)| key[0] == b'r'));
            match sent.fetch_or(last, Ordering::SeqCst) {
                true => VERDICTS[0],
                false if last => FaultAction::Unknown(FaultOutcome::Applied),
                false => FaultAction::Proceed,
            }
        });
        let put = session(&vault).put_reader(&id(), &content(version, length)[..]);
        assert_eq!(put, Err(Error::CommitUnknown));
        let stands = session(&stage.open()).get(&id()).unwrap().unwrap();
        assert!(stands[..] == content(version, length));
    }
}

/// Every put of a segment, by key.
type Uploads = Arc<Mutex<BTreeMap<Vec<u8>, usize>>>;

fn note(uploads: &Uploads, moment: &FaultPoint<'_>) {
    if let FaultPoint::Commit(operations) = moment {
        for (key, _) in raw::puts(operations).filter(|(key, _)| key[0] == b's') {
            *uploads.lock().unwrap().entry(key.to_vec()).or_default() += 1;
        }
    }
}

/// What two puts answered, ours first, and how often each segment was put.
type Met = ([Result<u64, Error>; 2], Vec<usize>);

/// Puts to a record of one version, and at one of its steps another does so too; `None` once there is
/// no such step.
fn met_at(stage: &Stage, before: &Objects, step: u64, expected: Precondition) -> Option<Met> {
    raw::reset(&stage.storage, before);
    let uploads = Uploads::default();
    let log = Arc::clone(&uploads);
    let (other, _) = open_with(stage, 2, move |_, moment| {
        note(&log, moment);
        FaultAction::Proceed
    });
    let (log, theirs) = (Arc::clone(&uploads), Arc::new(Mutex::new(None)));
    let their_outcome = Arc::clone(&theirs);
    let (vault, _) = open_with(stage, 2, move |now, moment| {
        note(&log, moment);
        if now == step + 1 {
            let put = session(&other).put_if(&id(), expected, &content(3, CHUNK + 5));
            *their_outcome.lock().unwrap() = Some(put);
        }
        FaultAction::Proceed
    });
    let ours = session(&vault).put_if(&id(), expected, &content(2, SEGMENT + 1));
    let theirs = theirs.lock().unwrap().take()?;
    let uploads = uploads.lock().unwrap().values().copied().collect();
    Some(([ours, theirs], uploads))
}

fn first_version(stage: &Stage) -> Objects {
    session(&stage.create())
        .put(&id(), &content(1, CHUNK + 1))
        .unwrap();
    raw::objects(&stage.storage)
}

fn versions(stage: &Stage) -> Vec<Vec<u8>> {
    let vault = stage.open();
    let chart = session(&vault);
    let count = chart.history(&id()).unwrap().len() as u64;
    let version = |version| chart.get_version(&id(), version).unwrap().unwrap().to_vec();
    (1..=count).map(version).collect()
}

fn met_anywhere(stage: &Stage) {
    let before = first_version(stage);
    let mut step = 0;
    while let Some(([ours, theirs], uploads)) = met_at(stage, &before, step, Precondition::Any) {
        let (ours, theirs) = (ours.unwrap() as usize, theirs.unwrap() as usize);
        assert_eq!(ours + theirs, 2 + 3);
        let stored = versions(stage);
        assert!(stored[ours - 1] == content(2, SEGMENT + 1));
        assert!(stored[theirs - 1] == content(3, CHUNK + 5));
        assert_eq!(uploads, [1; 3], "each segment once");
        assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 2, 4, 0]);
        step += 1;
    }
    assert!(step >= 6);
}

fn met_anywhere_with_an_expectation(stage: &Stage) {
    let before = first_version(stage);
    let (mut step, mut lost) = (0, [0; 2]);
    let expected = Precondition::Version(1);
    while let Some((outcomes, uploads)) = met_at(stage, &before, step, expected) {
        let bodies = [content(2, SEGMENT + 1), content(3, CHUNK + 5)];
        let winner = outcomes.iter().position(Result::is_ok).unwrap();
        assert_eq!(outcomes[winner], Ok(2));
        assert_eq!(outcomes[1 - winner], Err(Error::Conflict));
        lost[1 - winner] += 1;
        let stored = versions(stage);
        assert_eq!(stored.len(), 2);
        assert!(stored[1] == bodies[winner]);
        assert!(uploads.iter().all(|count| *count == 1));
        // Nothing is left of who lost.
        let segments = 1 + [2, 1][winner];
        assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 1, segments, 0]);
        step += 1;
    }
    // In one step, or between the steps of a transaction that is none.
    assert!(lost[0] >= 6, "{lost:?}");
    assert_eq!(lost[1] > 0, !stage.storage.is_transactional(), "{lost:?}");
}

/// The patient is erased at any step of a large put, of a first version and of a next one: nothing is
/// left, whatever was under way.
fn erased_anywhere(stage: &Stage) {
    let before = first_version(stage);
    for record in [id(), record("MRN-1", "CT/2")] {
        let (mut step, mut told, mut erased) = (0, 0, true);
        while erased {
            raw::reset(&stage.storage, &before);
            let (other, happened) = (stage.open(), Arc::new(AtomicBool::new(false)));
            let happens = Arc::clone(&happened);
            let (vault, _) = open_with(stage, 2, move |now, _| {
                if now == step + 1 {
                    session(&other)
                        .erase_subject(id().subject(), "asked for")
                        .unwrap();
                    happens.store(true, Ordering::SeqCst);
                }
                FaultAction::Proceed
            });
            let put = session(&vault).put_reader(&record, &content(2, SEGMENT + 1)[..]);
            erased = happened.load(Ordering::SeqCst);
            if erased {
                // Where a transaction is none, its intent goes after all was confirmed.
                let too_late = put.is_ok() && !stage.storage.is_transactional();
                assert!(too_late || put == Err(Error::Erased), "{put:?} at {step}");
                told += u64::from(put.is_err());
                assert_eq!(raw::counts(&stage.storage), [1, 1, 0, 0, 0, 0]);
            }
            step += 1;
        }
        assert!(told >= 6, "{told} times");
    }
}
