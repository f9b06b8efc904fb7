//! Interrupted and racing large puts: either the old or the new version is whole, and no segment is
//! uploaded twice.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chartlock::internals::envelope::{CHUNK, Head, Kind, SEGMENT, padme};
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Faulty};
use chartlock::{Error, Precondition, RecordId, Vault};

use crate::clock::LONG_AGO;
use crate::common::clock::ManualClock;
use crate::raw::{self, Objects};
use crate::stage::{ACTIONS, Shared, Stage, action_at, content, record, session_on};

everywhere!(
    large_put_interrupted_at_any_step_is_all_or_nothing,
    threaded_large_put_interrupted_at_any_step_is_all_or_nothing,
    first_large_put_interrupted_at_any_step_is_all_or_nothing,
    put_with_unknown_outcome_and_failing_storage_returns_commit_unknown,
    concurrent_large_puts_at_any_step_both_succeed,
    conditional_large_puts_at_any_step_have_one_winner,
    large_put_during_erase_at_any_step_leaves_nothing,
);

fn id() -> RecordId {
    record("MRN-1", "CT/1")
}

/// Opens the vault with this many threads, on a storage whose steps `hook` controls.
fn open_with(
    stage: &Stage,
    threads: usize,
    hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
) -> (Vault, Arc<Faulty<Shared>>) {
    let options = stage.options().clock(Arc::new(ManualClock::at(LONG_AGO)));
    let options = options.threads(NonZeroUsize::new(threads).unwrap());
    stage.open_faulty(options, hook)
}

/// A large put that the test interrupts.
struct InterruptedPut<'a> {
    stage: &'a Stage,
    /// The objects before the put.
    before: Objects,
    old: Option<Vec<u8>>,
    new: Vec<u8>,
    threads: usize,
}

impl<'a> InterruptedPut<'a> {
    fn new(stage: &'a Stage, old: Option<usize>, new: usize, threads: usize) -> Self {
        let vault = stage.create();
        let old = old.map(|length| content(1, length));
        if let Some(old) = &old {
            session_on(&vault).put(&id(), old).unwrap();
        }
        Self {
            stage,
            before: raw::objects(&stage.storage),
            old,
            new: content(2, new),
            threads,
        }
    }

    /// Returns the number of storage steps of an undisturbed put.
    fn steps(&self) -> u64 {
        let (vault, faulty) = open_with(self.stage, self.threads, |_, _| FaultAction::Proceed);
        let opened = faulty.steps();
        session_on(&vault).put_reader(&id(), &self.new[..]).unwrap();
        faulty.steps() - opened
    }

    fn interrupt_at(&self, step: u64, action: FaultAction) {
        raw::reset(&self.stage.storage, &self.before);
        let hook = action_at(step, action);
        let (vault, faulty) = open_with(self.stage, self.threads, hook);
        let outcome = session_on(&vault).put_reader(&id(), &self.new[..]);
        drop(vault);
        while faulty.land().is_some() {}
        let new_stored = self.assert_whole();
        let versions = u64::from(self.old.is_some());
        match outcome {
            Ok(version) => assert_eq!((version, new_stored), (versions + 1, true)),
            Err(Error::CommitUnknown) => assert!(!matches!(action, FaultAction::Fail(_))),
            Err(error) => {
                assert!(matches!(error, Error::Storage(_)), "{error:?}");
                let certain = self.stage.storage.is_transactional();
                assert!(!new_stored || !certain || action == FaultAction::StopAfter);
            }
        }
        // After a failed commit, the writer removes its upload if the storage certainly did not
        // commit the record.
        let cleared =
            matches!(action, FaultAction::Fail(_)) && self.stage.storage.is_transactional();
        self.assert_no_partial_upload(usize::from(!cleared));
        self.assert_collected(new_stored);
    }

    /// Asserts that all versions are whole, and returns whether the new version is one of them.
    fn assert_whole(&self) -> bool {
        let vault = self.stage.open();
        let session = session_on(&vault);
        let mut versions: Vec<_> = self.old.iter().collect();
        let history = session.history(&id()).unwrap();
        let new_stored = history.len() > versions.len();
        versions.extend(new_stored.then_some(&self.new));
        assert_eq!(history.len(), versions.len());
        for (version, expected) in (1..).zip(&versions) {
            let found = session.get_version(&id(), version).unwrap().unwrap();
            assert!(found[..] == expected[..]);
        }
        let now = session.get(&id()).unwrap();
        assert!(now.as_deref() == versions.last().map(|now| &now[..]));
        new_stored
    }

    /// Asserts that every referenced segment is stored, and that at most `left` uploads are
    /// unreferenced.
    fn assert_no_partial_upload(&self, left: usize) {
        let objects = raw::objects(&self.stage.storage);
        let stored = objects.keys().filter(|key| matches!(key[0], b's' | b'w'));
        let stored: BTreeSet<_> = stored.map(|key| key[1..33].to_vec()).collect();
        let versions = objects.iter().filter(|(key, value)| {
            matches!(key[0], b'r' | b'h') && Head::parse(value).unwrap().kind == Kind::Segmented
        });
        // Use a set, because an interrupted move to history leaves a version under two keys.
        let named = versions.map(|(key, value)| [&key[1..17], &value[96..112]].concat());
        let named: BTreeSet<_> = named.collect();
        assert!(named.is_subset(&stored));
        assert!(stored.difference(&named).count() <= left);
    }
}

impl InterruptedPut<'_> {
    /// Asserts that a later collection leaves exactly the objects of an undisturbed vault.
    fn assert_collected(&self, new_stored: bool) {
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
        self.assert_no_partial_upload(0);
        assert_eq!(self.assert_whole(), new_stored);
        let versions = 1 + usize::from(self.old.is_some()) + usize::from(new_stored);
        let put = session_on(&vault).put(&id(), b"goes on");
        assert_eq!(put, Ok(versions as u64));
        let lengths = self
            .old
            .iter()
            .chain(new_stored.then_some(&self.new))
            .map(Vec::len);
        let large = lengths.filter(|length| *length > CHUNK);
        let segments = large.map(|length| (padme(length as u64) as usize).div_ceil(SEGMENT));
        let expected = [1, 1, 1, versions - 1, segments.sum(), 0];
        assert_eq!(raw::counts(&self.stage.storage), expected);
    }
}

fn interrupt(put: &InterruptedPut<'_>, actions: &[FaultAction], stride: usize) {
    let steps = put.steps();
    assert!(steps >= 6);
    for step in (0..steps).step_by(stride) {
        for action in actions {
            put.interrupt_at(step, *action);
        }
    }
}

fn large_put_interrupted_at_any_step_is_all_or_nothing(stage: &Stage) {
    let put = InterruptedPut::new(stage, Some(CHUNK + 5), SEGMENT + 1, 1);
    // Interrupt every step on every storage, because a put has few steps.
    interrupt(&put, &ACTIONS, 1);
}

/// Uses enough segments for several threads.
fn threaded_large_put_interrupted_at_any_step_is_all_or_nothing(stage: &Stage) {
    let put = InterruptedPut::new(stage, Some(10), 2 * SEGMENT + 1, 14);
    interrupt(&put, &ACTIONS[..3], stage.stride);
}

fn first_large_put_interrupted_at_any_step_is_all_or_nothing(stage: &Stage) {
    let put = InterruptedPut::new(stage, None, CHUNK + 5, 2);
    interrupt(&put, &ACTIONS, 1);
}

/// Makes the outcome of the commit unknown and all later storage calls fail.
fn put_with_unknown_outcome_and_failing_storage_returns_commit_unknown(stage: &Stage) {
    drop(stage.create());
    for (version, length) in [(1, 10), (2, CHUNK + 5)] {
        let sent = AtomicBool::new(false);
        let (vault, _) = open_with(stage, 2, move |_, point| {
            let last = matches!(point, FaultPoint::Commit(operations)
                if raw::puts(operations).any(|(key, _)| key[0] == b'r'));
            match sent.fetch_or(last, Ordering::SeqCst) {
                true => ACTIONS[0],
                false if last => FaultAction::Unknown(FaultOutcome::Applied),
                false => FaultAction::Proceed,
            }
        });
        let put = session_on(&vault).put_reader(&id(), &content(version, length)[..]);
        assert_eq!(put, Err(Error::CommitUnknown));
        let stored = session_on(&stage.open()).get(&id()).unwrap().unwrap();
        assert!(stored[..] == content(version, length));
    }
}

/// The number of puts of each segment key.
type Uploads = Arc<Mutex<BTreeMap<Vec<u8>, usize>>>;

fn log_uploads(uploads: &Uploads, point: &FaultPoint<'_>) {
    if let FaultPoint::Commit(operations) = point {
        for (key, _) in raw::puts(operations).filter(|(key, _)| key[0] == b's') {
            *uploads.lock().unwrap().entry(key.to_vec()).or_default() += 1;
        }
    }
}

/// Results of two racing puts, and the number of puts of each segment. The tested vault's result is
/// first.
type RaceResult = ([Result<u64, Error>; 2], Vec<usize>);

/// Puts to a record that has one version, while another vault puts at the given step. Returns
/// `None` if the put has fewer steps.
fn race_at(
    stage: &Stage,
    before: &Objects,
    step: u64,
    expected: Precondition,
) -> Option<RaceResult> {
    raw::reset(&stage.storage, before);
    let uploads = Uploads::default();
    let log = Arc::clone(&uploads);
    let (other, _) = open_with(stage, 2, move |_, point| {
        log_uploads(&log, point);
        FaultAction::Proceed
    });
    let (log, theirs) = (Arc::clone(&uploads), Arc::new(Mutex::new(None)));
    let their_outcome = Arc::clone(&theirs);
    let (vault, _) = open_with(stage, 2, move |now, point| {
        log_uploads(&log, point);
        if now == step + 1 {
            let put = session_on(&other).put_if(&id(), expected, &content(3, CHUNK + 5));
            *their_outcome.lock().unwrap() = Some(put);
        }
        FaultAction::Proceed
    });
    let ours = session_on(&vault).put_if(&id(), expected, &content(2, SEGMENT + 1));
    let theirs = theirs.lock().unwrap().take()?;
    let uploads = uploads.lock().unwrap().values().copied().collect();
    Some(([ours, theirs], uploads))
}

fn first_version(stage: &Stage) -> Objects {
    session_on(&stage.create())
        .put(&id(), &content(1, CHUNK + 1))
        .unwrap();
    raw::objects(&stage.storage)
}

fn versions(stage: &Stage) -> Vec<Vec<u8>> {
    let vault = stage.open();
    let session = session_on(&vault);
    let count = session.history(&id()).unwrap().len() as u64;
    let version = |version| {
        session
            .get_version(&id(), version)
            .unwrap()
            .unwrap()
            .to_vec()
    };
    (1..=count).map(version).collect()
}

fn concurrent_large_puts_at_any_step_both_succeed(stage: &Stage) {
    let before = first_version(stage);
    let mut step = 0;
    while let Some(([ours, theirs], uploads)) = race_at(stage, &before, step, Precondition::Any) {
        let (ours, theirs) = (ours.unwrap() as usize, theirs.unwrap() as usize);
        assert_eq!(ours + theirs, 2 + 3);
        let stored = versions(stage);
        assert!(stored[ours - 1] == content(2, SEGMENT + 1));
        assert!(stored[theirs - 1] == content(3, CHUNK + 5));
        assert_eq!(uploads, [1; 3], "a segment was uploaded twice");
        assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 2, 4, 0]);
        step += 1;
    }
    assert!(step >= 6);
}

fn conditional_large_puts_at_any_step_have_one_winner(stage: &Stage) {
    let before = first_version(stage);
    let (mut step, mut lost) = (0, [0; 2]);
    let expected = Precondition::Version(1);
    while let Some((outcomes, uploads)) = race_at(stage, &before, step, expected) {
        let bodies = [content(2, SEGMENT + 1), content(3, CHUNK + 5)];
        let winner = outcomes.iter().position(Result::is_ok).unwrap();
        assert_eq!(outcomes[winner], Ok(2));
        assert_eq!(outcomes[1 - winner], Err(Error::Conflict));
        lost[1 - winner] += 1;
        let stored = versions(stage);
        assert_eq!(stored.len(), 2);
        assert!(stored[1] == bodies[winner]);
        assert!(uploads.iter().all(|count| *count == 1));
        // The losing put must remove its segments and its intent.
        let segments = 1 + [2, 1][winner];
        assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 1, segments, 0]);
        step += 1;
    }
    // The other vault can lose only on a storage without transactions, where its put can run
    // between two operations of the tested put.
    assert!(lost[0] >= 6, "{lost:?}");
    assert_eq!(lost[1] > 0, !stage.storage.is_transactional(), "{lost:?}");
}

/// Erases the subject from another vault at each step of a large put to an existing or a new
/// record.
fn large_put_during_erase_at_any_step_leaves_nothing(stage: &Stage) {
    let before = first_version(stage);
    for record in [id(), record("MRN-1", "CT/2")] {
        let (mut step, mut refused, mut erased) = (0, 0, true);
        while erased {
            raw::reset(&stage.storage, &before);
            let (other, happened) = (stage.open(), Arc::new(AtomicBool::new(false)));
            let happens = Arc::clone(&happened);
            let (vault, _) = open_with(stage, 2, move |now, _| {
                if now == step + 1 {
                    session_on(&other)
                        .erase_subject(id().subject(), "asked for")
                        .unwrap();
                    happens.store(true, Ordering::SeqCst);
                }
                FaultAction::Proceed
            });
            let put = session_on(&vault).put_reader(&record, &content(2, SEGMENT + 1)[..]);
            erased = happened.load(Ordering::SeqCst);
            if erased {
                // Without transactions, the erasure may happen between the last check and the
                // delete of the intent.
                let too_late = put.is_ok() && !stage.storage.is_transactional();
                assert!(too_late || put == Err(Error::Erased), "{put:?} at {step}");
                refused += u64::from(put.is_err());
                assert_eq!(raw::counts(&stage.storage), [1, 1, 0, 0, 0, 0]);
            }
            step += 1;
        }
        assert!(refused >= 6, "{refused} times");
    }
}
