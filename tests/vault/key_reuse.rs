//! Key reuse: no key seals two values, even after a lost race, a retry, a rotation or a fork.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;

use chartlock::internals::envelope::{Head, INLINE_MAX, SEGMENT, digest};
use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint};
use chartlock::{Document, Vault};

use crate::common::Fixed;
use crate::model::small_clinic;
use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session_on, subject};

everywhere!(
    data_keys_and_salts_never_repeat,
    put_after_lost_race_uploads_no_segment_twice
);

/// Log of every put that reached a storage, regardless of its outcome.
pub(crate) type Sent = Arc<Mutex<Vec<(Vec<u8>, Vec<u8>)>>>;

pub(crate) fn log_puts(sent: &Sent, point: &FaultPoint<'_>) {
    if let FaultPoint::Commit(operations) = point {
        let puts = raw::puts(operations);
        let puts = puts.map(|(key, value)| (key.to_vec(), value.to_vec()));
        sent.lock().unwrap().extend(puts);
    }
}

/// Asserts that each commitment and each salt has one ciphertext, and each segment key one content.
/// Also asserts that a data key has one wrapped form per object class and wrapping key.
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
                assert!(first == value, "a chunk key sealed two values");
            }
            b'p' | b'j' => once(value[8..40].to_vec(), value),
            b'v' => once(ring_salt(value), value),
            _ => {}
        }
    }
    let bodies: HashSet<_> = wrapped.values().collect();
    assert_eq!(
        bodies.len(),
        wrapped.len(),
        "two wrapped keys have the same bytes"
    );
    sealed.len() + salts.len()
}

/// Returns the salt between the last slot and the sealed keyring.
pub(crate) fn ring_salt(header: &[u8]) -> Vec<u8> {
    let mut at = 36;
    for _ in 0..header[11] {
        let length: [u8; 4] = header[at + 4..at + 8].try_into().unwrap();
        at += 8 + u32::from_le_bytes(length) as usize;
    }
    header[at..at + 32].to_vec()
}

fn data_keys_and_salts_never_repeat(stage: &Stage) {
    let sent = Sent::default();
    drop(stage.create());
    let open = |unreliable: bool| {
        let log = Arc::clone(&sent);
        let (vault, _) = stage.open_with(move |step, point| {
            log_puts(&log, point);
            // Make the outcome of some commits unknown.
            match (point, step % 7) {
                (FaultPoint::Commit(_), 3) if unreliable => {
                    FaultAction::Unknown(FaultOutcome::Applied)
                }
                (FaultPoint::Commit(_), 5) if unreliable => {
                    FaultAction::Unknown(FaultOutcome::Lost)
                }
                _ => FaultAction::Proceed,
            }
        });
        vault
    };
    let vault = open(false);
    let mut model = small_clinic(&vault);
    let unreliable = open(true);
    for index in 0..30 {
        let id = record(&format!("MRN-{index}"), "Observation/unsure");
        let size = if index % 10 == 0 { INLINE_MAX + 1 } else { 100 };
        let body = content(index, size);
        // Put twice, so that versions also move to history.
        for _ in 0..2 {
            session_on(&unreliable).put(&id, &body).unwrap();
            model
                .0
                .entry(id.clone())
                .or_default()
                .push(Some(body.clone()));
        }
    }
    let contended = record("MRN-1", "Observation/contended");
    thread::scope(|scope| {
        for (thread, vault) in [&vault, &vault, &unreliable].into_iter().enumerate() {
            let (id, session) = (&contended, session_on(vault));
            scope.spawn(move || {
                // Use different contents. After an unknown outcome, a writer cannot distinguish its
                // own version from an equal version of the same millisecond.
                for turn in 0..10 {
                    session.put(id, &[thread as u8, turn]).unwrap();
                }
            });
        }
    });
    for vault in [&vault, &unreliable] {
        // These calls may fail, because their outcomes are unknown.
        let _ = vault.add_slot(&Fixed(2));
        let _ = vault.rotate_master_key();
        let _ = vault.rotate_subject_key(&subject("MRN-1"));
        let _ = vault.reencrypt_subject(&subject("MRN-1"));
    }
    let versions = session_on(&vault).history(&contended).unwrap().len();
    assert!(versions >= 30);
    model.0.remove(&contended);
    assert!(assert_no_repeats(&sent.lock().unwrap()) > 100);
    for (id, versions) in &model.0 {
        let now = session_on(&vault).get(id).unwrap();
        assert!(now.as_deref() == versions.last().unwrap().as_deref());
    }
}

fn put_after_lost_race_uploads_no_segment_twice(stage: &Stage) {
    let other = stage.create();
    let id = record("MRN-1", "CT/1");
    session_on(&other).put(&id, b"first").unwrap();
    let sent = Sent::default();
    let rival = Mutex::new(Some(other));
    let log = Arc::clone(&sent);
    let race = id.clone();
    let (vault, _) = stage.open_with(move |_, point| {
        log_puts(&log, point);
        let last = matches!(point, FaultPoint::Commit(operations)
            if raw::puts(operations).any(|(key, _)| matches!(key[0], b'r' | b'h')));
        // Let the rival's put win the race once.
        if last && let Some(other) = rival.lock().unwrap().take() {
            session_on(&other).put(&race, b"the rival's").unwrap();
        }
        FaultAction::Proceed
    });
    let body = content(1, SEGMENT + 70_000);
    assert_eq!(session_on(&vault).put(&id, &body), Ok(3));
    let session = session_on(&vault);
    assert!(session.get(&id).unwrap().unwrap()[..] == body[..]);
    assert_eq!(
        &session.get_version(&id, 2).unwrap().unwrap()[..],
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

/// Makes parent and child continue from the same memory. Both must draw different random values.
#[cfg(unix)]
#[test]
fn forked_processes_draw_different_random_values() {
    let stage = Stage::memory();
    let vault = stage.create();
    small_clinic(&vault);
    let before = raw::all_objects(&stage.storage);
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("of the child");
    // SAFETY: the child uses nothing that another thread of the parent may have locked except the
    // allocator, which the C library makes usable again. The child ends without unwinding.
    #[allow(unsafe_code)]
    let child = unsafe { libc::fork() };
    if child == 0 {
        // The alarm ends a child that hangs; even on slow machines the work takes less time.
        // SAFETY: `alarm` accesses no memory of this process.
        #[allow(unsafe_code)]
        unsafe {
            libc::alarm(300);
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            work(&vault);
            std::fs::write(&path, encoded(&raw::all_objects(&stage.storage))).unwrap();
        }));
        // SAFETY: `_exit` ends the child without access to its memory.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(i32::from(done.is_err()))
        }
    }
    work(&vault);
    let mut status = 0;
    // SAFETY: `child` is the process created above, and `status` is valid for writes during the
    // call.
    #[allow(unsafe_code)]
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    let mine = raw::all_objects(&stage.storage);
    let theirs = decoded(&std::fs::read(&path).unwrap());
    let (mine, theirs) = (
        random_values(&mine, &before),
        random_values(&theirs, &before),
    );
    assert_eq!(mine.len(), theirs.len());
    assert!(mine.len() > 150, "{} drawn", mine.len());
    assert!(mine.is_disjoint(&theirs));
}

fn work(vault: &Vault) {
    let session = session_on(vault);
    let ids: Vec<_> = (0..50)
        .map(|index| record(&format!("MRN-{}", index % 10), &format!("record {index}")))
        .collect();
    let documents = std::iter::repeat(Document::new(b"the same in both"));
    let outcomes = session.put_many(ids.iter().zip(documents)).unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    session.put(&ids[0], &content(1, 2 * SEGMENT)).unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    vault.rotate_master_key().unwrap();
}

/// Returns all random values in the objects that are not in `before`.
fn random_values(objects: &Objects, before: &Objects) -> BTreeSet<Vec<u8>> {
    let mut random_values = BTreeSet::new();
    for (key, value) in objects
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
    {
        match key[0] {
            b'r' | b'h' => {
                let fields = [16..48, 48..96, 96..value.len()];
                random_values.extend(fields.map(|field| value[field].to_vec()));
            }
            b's' => drop(random_values.insert(value.clone())),
            b'p' | b'j' => drop(random_values.insert(value[8..40].to_vec())),
            _ => drop(random_values.insert(ring_salt(value))),
        }
    }
    // Both processes rewrap content that was sealed before the fork.
    for value in before.values().filter(|value| value.len() > 96) {
        random_values.remove(&value[96..]);
        random_values.remove(&value[16..48]);
    }
    random_values
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
