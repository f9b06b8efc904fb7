//! Cancellation of long operations, at each of their steps.

use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::progress::{CancelToken, Phase, ProgressUpdate};
use chartlock::{Error, ErrorKind, Vault};

use crate::model::{Model, small_clinic};
use crate::raw;
use crate::stage::{Stage, content, record, session_on, subject};

everywhere!(
    cancelled_operation_returns_cancelled_and_continues_when_repeated,
    cancelled_erasure_keeps_nothing_readable,
    cancelled_upload_creates_no_version,
    cancelled_upload_reads_no_more_of_its_source,
    cancelled_verification_continues_from_its_position,
    cancelled_archive_is_journaled,
    cancelled_wait_ends_at_once,
    lock_ends_the_wait_of_a_rotation,
    cancelled_handle_still_reads_and_writes,
);

/// Returns a handle that is cancelled by its own listener at update number `at`, counted from 0.
fn cancelled_at(vault: &Vault, at: u64) -> Vault {
    let token = CancelToken::new();
    let updates = AtomicU64::new(0);
    let listener = {
        let token = token.clone();
        move |_: ProgressUpdate| {
            if updates.fetch_add(1, Ordering::SeqCst) == at {
                token.cancel();
            }
        }
    };
    vault.with_cancel(&token).with_progress(listener)
}

type Verb = fn(&Vault) -> Result<(), Error>;

/// Long operations that leave every record readable.
const VERBS: [(&str, Verb); 7] = [
    ("rotate the master key", |vault| {
        vault.rotate_master_key().map(drop)
    }),
    ("rotate a subject key", |vault| {
        vault.rotate_subject_key(&subject("MRN-1")).map(drop)
    }),
    ("re-encrypt a subject", |vault| {
        vault.reencrypt_subject(&subject("MRN-1")).map(drop)
    }),
    ("re-encrypt", |vault| vault.reencrypt().map(drop)),
    ("collect garbage", |vault| vault.collect_garbage().map(drop)),
    ("count the objects under each key", |vault| {
        vault.key_usage().map(drop)
    }),
    ("verify", |vault| {
        vault.verification().with_content().finish().map(drop)
    }),
];

fn assert_whole(vault: &Vault, model: &Model) {
    model.verify(vault);
    let report = vault.verify(None).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

fn cancelled_operation_returns_cancelled_and_continues_when_repeated(stage: &Stage) {
    let vault = stage.create();
    let model = small_clinic(&vault);
    for (name, verb) in VERBS {
        let mut cancelled = 0;
        while let Err(error) = verb(&cancelled_at(&vault, cancelled)) {
            assert_eq!(error, Error::Cancelled, "{name}");
            assert!(!error.is_retryable());
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            model.verify(&vault);
            cancelled += 1;
        }
        assert!(cancelled > 0, "{name} has no step at which it can end");
        verb(&vault).unwrap();
        assert_whole(&vault, &model);
        assert_eq!(
            raw::key_usage(&vault),
            raw::brute_force(&stage.storage),
            "{name}"
        );
    }
    assert_whole(&stage.open(), &model);
}

fn cancelled_erasure_keeps_nothing_readable(stage: &Stage) {
    let vault = stage.create();
    let mut model = small_clinic(&vault);
    let patient = subject("MRN-1");
    let erase = |vault: &Vault| session_on(vault).erase_subject(&patient, "asked for");
    assert_eq!(erase(&cancelled_at(&vault, 0)), Err(Error::Cancelled));
    let id = record("MRN-1", "Observation/amended");
    for vault in [&vault, &stage.open()] {
        assert_eq!(session_on(vault).get(&id).unwrap_err(), Error::Erased);
    }
    let mut cancelled = 0;
    while let Err(error) = erase(&cancelled_at(&vault, 0)) {
        assert_eq!(error, Error::Cancelled);
        cancelled += 1;
        assert!(cancelled < 100, "the erasure does not continue");
    }
    erase(&vault).unwrap();
    model.0.retain(|id, _| *id.subject() != patient);
    assert_whole(&vault, &model);
    assert_eq!(raw::counts(&stage.storage), [1, 4, 9, 8, 4, 0]);
}

fn cancelled_upload_creates_no_version(stage: &Stage) {
    let vault = stage.create();
    let id = record("MRN-1", "ImagingStudy/ct/1");
    let body = content(7, 3 << 20);
    session_on(&vault).put(&id, b"first").unwrap();
    let before = raw::counts(&stage.storage);
    let mut cancelled = 0;
    loop {
        let session = session_on(&cancelled_at(&vault, cancelled));
        let put = session.put_reader(&id, Cursor::new(&body));
        let now = session_on(&vault).get(&id).unwrap().unwrap();
        match put {
            Err(error) => assert_eq!(error, Error::Cancelled),
            Ok(_) => {
                assert!(now[..] == body[..]);
                break;
            }
        }
        assert_eq!(&now[..], b"first");
        assert_eq!(raw::counts(&stage.storage), before);
        assert_eq!(session_on(&vault).history(&id).unwrap().len(), 1);
        cancelled += 1;
    }
    assert!(cancelled > 0);
    let garbage = vault.collect_garbage().unwrap();
    assert_eq!((garbage.segments, garbage.uploads), (0, 0));
}

/// Endless content, which cancels a token at a read.
struct CancellingSource<'a> {
    token: CancelToken,
    cancels_at: u64,
    reads: &'a mut u64,
}

impl Read for CancellingSource<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        *self.reads += 1;
        if *self.reads == self.cancels_at {
            self.token.cancel();
        }
        Ok(into.len().min(4 << 10))
    }
}

fn cancelled_upload_reads_no_more_of_its_source(stage: &Stage) {
    let vault = stage.create();
    let id = record("MRN-1", "ImagingStudy/ct/1");
    for cancels_at in [100, 1000] {
        let (token, mut reads) = (CancelToken::new(), 0);
        let session = session_on(&vault.with_cancel(&token));
        let source = CancellingSource {
            token,
            cancels_at,
            reads: &mut reads,
        };
        assert_eq!(session.put_reader(&id, source), Err(Error::Cancelled));
        assert_eq!(reads, cancels_at);
    }
}

fn cancelled_verification_continues_from_its_position(stage: &Stage) {
    let vault = stage.create();
    small_clinic(&vault);
    let handle = cancelled_at(&vault, 3);
    let mut verification = handle.verification().max_facts(1);
    let error = loop {
        match verification.step() {
            Ok(true) => {}
            Ok(false) => panic!("the verification ended"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::Cancelled);
    let position = verification.position();
    let report = vault.verification().from(position).finish().unwrap();
    assert!(report.is_clean(), "{report:?}");
}

fn cancelled_archive_is_journaled(stage: &Stage) {
    let vault = stage.create();
    small_clinic(&vault);
    let mut out = Vec::new();
    let archived = session_on(&cancelled_at(&vault, 1)).archive("nightly", &mut out);
    assert_eq!(archived.unwrap_err(), Error::Cancelled);
    assert!(chartlock::storage::archive::verify(&out[..]).is_err());
    let trail = session_on(&vault).audit().unwrap();
    let entries = trail.entries(..).unwrap();
    let backups = entries
        .map(|item| format!("{:?}", item.unwrap()))
        .filter(|item| item.contains("EndBackup"));
    let backups: Vec<_> = backups.collect();
    assert_eq!(backups.len(), 1);
    assert!(backups[0].contains("Refused"), "{}", backups[0]);
}

fn cancelled_wait_ends_at_once(stage: &Stage) {
    small_clinic(&stage.create());
    let options = stage
        .options_under_load()
        .key_removal_delay(Duration::from_secs(30));
    let vault = stage.open_by(options);
    let waits = Arc::new(Mutex::new(0));
    let token = CancelToken::new();
    let listener = {
        let (waits, token) = (Arc::clone(&waits), token.clone());
        move |update: ProgressUpdate| {
            if update.phase == Phase::Waiting {
                *waits.lock().unwrap() += 1;
                token.cancel();
            }
        }
    };
    let handle = vault.with_cancel(&token).with_progress(listener);
    assert_eq!(handle.rotate_master_key(), Err(Error::Cancelled));
    assert_eq!(*waits.lock().unwrap(), 1);
    let report = vault.rotate_master_key().unwrap();
    assert!(report.master_keys_destroyed >= 2, "{report:?}");
}

fn lock_ends_the_wait_of_a_rotation(stage: &Stage) {
    small_clinic(&stage.create());
    let options = stage
        .options_under_load()
        .key_removal_delay(Duration::from_secs(30));
    let vault = stage.open_by(options);
    let waits = Arc::new(AtomicU64::new(0));
    let listener = {
        let (waits, vault) = (Arc::clone(&waits), vault.clone());
        move |update: ProgressUpdate| {
            if update.phase == Phase::Waiting {
                waits.fetch_add(1, Ordering::SeqCst);
                vault.lock();
            }
        }
    };
    let handle = vault.with_progress(listener);
    assert_eq!(handle.rotate_master_key(), Err(Error::Locked));
    assert_eq!(waits.load(Ordering::SeqCst), 1);
}

fn cancelled_handle_still_reads_and_writes(stage: &Stage) {
    let vault = stage.create();
    let token = CancelToken::new();
    token.cancel();
    let session = session_on(&vault.with_cancel(&token));
    let id = record("MRN-1", "Observation/1");
    session.put(&id, b"120/80").unwrap();
    assert_eq!(&session.get(&id).unwrap().unwrap()[..], b"120/80");
}
