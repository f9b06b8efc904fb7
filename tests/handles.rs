//! Ownership of vault handles: they move to other threads, outlive the variable that created them,
//! and stop working after `lock()`.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

use chartlock::audit::{AuditEntries, AuditTrail, Auditor};
use chartlock::keys::Passphrase;
use chartlock::{
    Actor, Contents, Error, MemoryStorage, Purpose, Record, RecordId, RecordReader, RecordWriter,
    Session, Subject, Vault, verify::Verification,
};

fn is_owned<T: Send + 'static>() {}
fn is_shared<T: Send + Sync + 'static>() {}

/// Asserts at compile time that every handle type is owned.
#[test]
fn handle_types_are_send_and_static() {
    is_shared::<Vault>();
    is_shared::<Session>();
    is_shared::<Record>();
    is_shared::<RecordReader>();
    is_owned::<RecordWriter>();
    is_owned::<Contents>();
    is_shared::<AuditTrail>();
    is_owned::<AuditEntries>();
    is_shared::<Auditor>();
    is_owned::<Verification>();
}

/// Asserts at compile time that the iterators of a session are owned.
#[test]
fn iterators_of_sessions_are_send_and_static() {
    fn is_owned<T: Send + 'static>(_: &T) {}
    let session = session(&vault());
    is_owned(&session.list(id("note").subject()).unwrap());
    is_owned(&session.subjects().unwrap());
}

fn vault() -> Vault {
    Vault::create(
        MemoryStorage::new(),
        &Passphrase::new("correct horse battery staple"),
    )
    .unwrap()
}

fn session(vault: &Vault) -> Session {
    vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment)
}

fn id(name: &str) -> RecordId {
    RecordId::patient("MRN-1042", name).unwrap()
}

#[test]
fn handles_outlive_vault_variable_and_its_thread() {
    let session = session(&vault());
    let mut writer = session.writer(&id("Observation/bp"));
    let writer = thread::spawn(move || {
        writer.write_all(b"{}").unwrap();
        writer.finish().unwrap()
    });
    assert_eq!(writer.join().unwrap(), 1);

    let mut reader = session.reader(&id("Observation/bp")).unwrap().unwrap();
    let listed = session
        .list(&Subject::patient("MRN-1042").unwrap())
        .unwrap();
    let subjects = session.subjects().unwrap();
    drop(session);
    let read = thread::spawn(move || {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        (content, listed.count(), subjects.count())
    });
    assert_eq!(read.join().unwrap(), (b"{}".to_vec(), 1, 1));
}

#[test]
fn vault_clones_share_one_vault() {
    let vault = vault();
    let other = vault.clone();
    session(&vault).put(&id("Observation/bp"), b"{}").unwrap();
    assert!(
        session(&other)
            .get(&id("Observation/bp"))
            .unwrap()
            .is_some()
    );
    other.lock();
    assert_eq!(
        session(&vault).get(&id("Observation/bp")).unwrap_err(),
        Error::Locked
    );
}

/// Number of records. One fetch returns fewer records, so that some remain unfetched when `lock`
/// runs.
const RECORDS: usize = 300;

#[test]
fn lock_makes_every_open_handle_return_locked() {
    let storage = Arc::new(MemoryStorage::new());
    let vault = Vault::create(storage, &Passphrase::new("correct horse battery staple")).unwrap();
    let session = session(&vault);
    for number in 0..RECORDS {
        session
            .put(&id(&format!("Observation/{number}")), b"{}")
            .unwrap();
    }
    let other = RecordId::patient("MRN-2", "Observation/bp").unwrap();
    session.put(&other, b"{}").unwrap();
    let subject = Subject::patient("MRN-1042").unwrap();

    let mut contents = session.get_all(&subject).unwrap();
    let mut listed = session.list(&subject).unwrap();
    let mut subjects = session.subjects().unwrap();
    let reader = session.reader(&id("Observation/0")).unwrap().unwrap();
    let mut writer = session.writer(&id("Observation/0"));
    writer.write_all(b"{}").unwrap();
    let trail = session.audit().unwrap();
    let mut entries = trail.entries(..).unwrap();
    let mut verification = vault.verification();
    assert!(contents.next().unwrap().is_ok());
    assert!(listed.next().unwrap().is_ok());
    assert!(subjects.next().unwrap().is_ok());
    assert!(entries.next().unwrap().is_ok());
    assert!(verification.step().unwrap());

    vault.clone().lock();

    assert_eq!(contents.next().unwrap().unwrap_err(), Error::Locked);
    assert!(contents.next().is_none());
    assert_eq!(listed.next().unwrap().unwrap_err(), Error::Locked);
    assert!(listed.next().is_none());
    assert_eq!(subjects.next().unwrap().unwrap_err(), Error::Locked);
    assert!(subjects.next().is_none());
    assert_eq!(entries.next().unwrap().unwrap_err(), Error::Locked);
    assert_eq!(reader.read_at(0, &mut [0; 2]).unwrap_err(), Error::Locked);
    assert_eq!(writer.finish().unwrap_err(), Error::Locked);
    assert_eq!(trail.entries(..).unwrap_err(), Error::Locked);
    assert_eq!(verification.step().unwrap_err(), Error::Locked);
    assert_eq!(session.subjects().err(), Some(Error::Locked));
}
