//! No key seals twice: after a lost race, on every retry, in every rotation, after a fork.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;

use chartlock::internals::envelope::{Head, INLINE_MAX, SEGMENT, digest};
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint};
use chartlock::{Document, Vault};

use crate::common::Fixed;
use crate::model::small_clinic;
use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session, subject};

everywhere!(every_value_ever_written, a_lost_race_uploads_nothing_twice);

/// Every put that was sent to a storage, whatever became of it.
type Sent = Arc<Mutex<Vec<(Vec<u8>, Vec<u8>)>>>;

fn note(sent: &Sent, moment: &FaultPoint<'_>) {
    if let FaultPoint::Commit(operations) = moment {
        let puts = raw::puts(operations);
        let puts = puts.map(|(key, value)| (key.to_vec(), value.to_vec()));
        sent.lock().unwrap().extend(puts);
    }
}

/// One sealing for each commitment and salt, one wrap for each data key and place, one content for
/// each segment.
fn assert_no_repeats(sent: &[(Vec<u8>, Vec<u8>)]) -> usize {
    let mut sealed = HashMap::<Vec<u8>, [u8; 32]>::new();
    let mut wrapped = HashMap::<Vec<u8>, Vec<u8>>::new();
    let mut salts = HashMap::<Vec<u8>, &[u8]>::new();
    let mut segments = HashMap::<&[u8], &[u8]>::new();
    let mut once = |salt: Vec<u8>, value| {
        let same = *salts.entry(salt).or_insert(value) == value;
        assert!(same, "a salt was used for two values");
    };
    for (key, value) in sent {
        match key[0] {
            b'r' | b'h' => {
                let head = Head::parse(value).unwrap();
                let body = digest(value).unwrap();
                let first = *sealed.entry(head.commitment.to_vec()).or_insert(body);
                assert_eq!(first, body, "a data key sealed twice");
                let place = [&key[..1], &value[4..8], &head.commitment].concat();
                let first = wrapped
                    .entry(place)
                    .or_insert_with(|| head.wrapped.to_vec());
                assert_eq!(*first, head.wrapped);
            }
            b's' => {
                let first = *segments.entry(key).or_insert(value);
                assert!(first == value, "a chunk key sealed two contents");
            }
            b'p' | b'j' => once(value[8..40].to_vec(), value),
            b'v' => once(ring_salt(value), value),
            _ => {}
        }
    }
    let bodies: HashSet<_> = wrapped.values().collect();
    assert_eq!(bodies.len(), wrapped.len(), "two wraps are the same bytes");
    sealed.len() + salts.len()
}

/// What stands between the last slot and the sealed keyring.
fn ring_salt(header: &[u8]) -> Vec<u8> {
    let mut at = 36;
    for _ in 0..header[11] {
        let length: [u8; 4] = header[at + 4..at + 8].try_into().unwrap();
        at += 8 + u32::from_le_bytes(length) as usize;
    }
    header[at..at + 32].to_vec()
}

fn every_value_ever_written(stage: &Stage) {
    let sent = Sent::default();
    drop(stage.create());
    let open = |unsure: bool| {
        let log = Arc::clone(&sent);
        let (vault, _) = stage.open_with(move |step, moment| {
            note(&log, moment);
            // Every few commits nobody says what became of them.
            match (moment, step % 7) {
                (FaultPoint::Commit(_), 3) if unsure => FaultAction::Unknown(FaultOutcome::Applied),
                (FaultPoint::Commit(_), 5) if unsure => FaultAction::Unknown(FaultOutcome::Lost),
                _ => FaultAction::Proceed,
            }
        });
        vault
    };
    let vault = open(false);
    let mut model = small_clinic(&vault);
    let unsure = open(true);
    for index in 0..30 {
        let id = record(&format!("MRN-{index}"), "Observation/unsure");
        let size = if index % 10 == 0 { INLINE_MAX + 1 } else { 100 };
        let body = content(index, size);
        // Twice, so that versions move aside as well.
        for _ in 0..2 {
            session(&unsure).put(&id, &body).unwrap();
            model
                .0
                .entry(id.clone())
                .or_default()
                .push(Some(body.clone()));
        }
    }
    let contended = record("MRN-1", "Observation/contended");
    thread::scope(|scope| {
        for (thread, vault) in [&vault, &vault, &unsure].into_iter().enumerate() {
            let (id, chart) = (&contended, session(vault));
            scope.spawn(move || {
                // Of the same content at the same millisecond a writer who was told nothing takes
                // another's version for its own.
                for turn in 0..10 {
                    chart.put(id, &[thread as u8, turn]).unwrap();
                }
            });
        }
    });
    for vault in [&vault, &unsure] {
        // Slots and master keys of which nobody knows whether they came to be are no error here.
        let _ = vault.add_slot(&Fixed(2));
        let _ = vault.rotate_master_key();
        let _ = vault.rotate_subject_key(&subject("MRN-1"));
        let _ = vault.reencrypt_subject(&subject("MRN-1"));
    }
    let versions = session(&vault).history(&contended).unwrap().len();
    assert!(versions >= 30);
    model.0.remove(&contended);
    assert!(assert_no_repeats(&sent.lock().unwrap()) > 100);
    for (id, versions) in &model.0 {
        let now = session(&vault).get(id).unwrap();
        assert!(now.as_deref() == versions.last().unwrap().as_deref());
    }
}

fn a_lost_race_uploads_nothing_twice(stage: &Stage) {
    let other = stage.create();
    let id = record("MRN-1", "CT/1");
    session(&other).put(&id, b"first").unwrap();
    let sent = Sent::default();
    let rival = Mutex::new(Some(other));
    let log = Arc::clone(&sent);
    let race = id.clone();
    let (vault, _) = stage.open_with(move |_, moment| {
        note(&log, moment);
        let last = matches!(moment, FaultPoint::Commit(operations)
            if raw::puts(operations).any(|(key, _)| matches!(key[0], b'r' | b'h')));
        // Another is first, once.
        if last && let Some(other) = rival.lock().unwrap().take() {
            session(&other).put(&race, b"the rival's").unwrap();
        }
        FaultAction::Proceed
    });
    let body = content(1, SEGMENT + 70_000);
    assert_eq!(session(&vault).put(&id, &body), Ok(3));
    let chart = session(&vault);
    assert!(chart.get(&id).unwrap().unwrap()[..] == body[..]);
    assert_eq!(
        &chart.get_version(&id, 2).unwrap().unwrap()[..],
        b"the rival's"
    );
    let sent = sent.lock().unwrap();
    let mut uploads = BTreeMap::<&[u8], usize>::new();
    for (key, _) in sent.iter().filter(|(key, _)| key[0] == b's') {
        *uploads.entry(key).or_default() += 1;
    }
    assert_eq!(uploads.into_values().collect::<Vec<_>>(), [1, 1]);
    assert_no_repeats(&sent);
    assert_eq!(raw::counts(&stage.storage), [1, 1, 1, 2, 2, 0]);
}

/// Parent and child go on from the same memory, each for itself: whatever both draw differs.
#[cfg(unix)]
#[test]
fn after_a_fork() {
    let stage = Stage::memory();
    let vault = stage.create();
    small_clinic(&vault);
    let before = raw::everything(&stage.storage);
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("of the child");
    // SAFETY: the child touches nothing that another thread of the parent may have locked but the
    // allocator, which the C library makes usable again, and ends without unwinding.
    #[allow(unsafe_code)]
    let child = unsafe { libc::fork() };
    if child == 0 {
        // A child that hangs is ended by the alarm, which no machine is slow enough to hear before.
        // SAFETY: a plain system call.
        #[allow(unsafe_code)]
        unsafe {
            libc::alarm(300);
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            work(&vault);
            std::fs::write(&path, encoded(&raw::everything(&stage.storage))).unwrap();
        }));
        // SAFETY: ends the child here and now.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(i32::from(done.is_err()))
        }
    }
    work(&vault);
    let mut status = 0;
    // SAFETY: waits for the child made above, with a place for its status.
    #[allow(unsafe_code)]
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    let mine = raw::everything(&stage.storage);
    let theirs = decoded(&std::fs::read(&path).unwrap());
    let (mine, theirs) = (drawn(&mine, &before), drawn(&theirs, &before));
    assert_eq!(mine.len(), theirs.len());
    assert!(mine.len() > 150, "{} drawn", mine.len());
    assert!(mine.is_disjoint(&theirs));
}

fn work(vault: &Vault) {
    let chart = session(vault);
    let ids: Vec<_> = (0..50)
        .map(|index| record(&format!("MRN-{}", index % 10), &format!("record {index}")))
        .collect();
    let documents = std::iter::repeat(Document::new(b"the same in both"));
    let outcomes = chart.put_many(ids.iter().zip(documents)).unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    chart.put(&ids[0], &content(1, 2 * SEGMENT)).unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    vault.rotate_master_key().unwrap();
}

/// Everything random that is in sight and was not there before.
fn drawn(objects: &Objects, before: &Objects) -> BTreeSet<Vec<u8>> {
    let mut drawn = BTreeSet::new();
    for (key, value) in objects
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
    {
        match key[0] {
            b'r' | b'h' => {
                let fields = [16..48, 48..96, 96..value.len()];
                drawn.extend(fields.map(|field| value[field].to_vec()));
            }
            b's' => drop(drawn.insert(value.clone())),
            b'p' | b'j' => drop(drawn.insert(value[8..40].to_vec())),
            _ => drop(drawn.insert(ring_salt(value))),
        }
    }
    // What was sealed before is in both, wrapped again under keys that are not.
    for value in before.values().filter(|value| value.len() > 96) {
        drawn.remove(&value[96..]);
        drawn.remove(&value[16..48]);
    }
    drawn
}

fn encoded(objects: &Objects) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in objects.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    bytes
}

fn decoded(mut bytes: &[u8]) -> Objects {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (part, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
        parts.push(part.to_vec());
        bytes = rest;
    }
    let (pairs, []) = parts.as_chunks::<2>() else {
        panic!("a key without a value");
    };
    pairs
        .iter()
        .map(|[key, value]| (key.clone(), value.clone()))
        .collect()
}
