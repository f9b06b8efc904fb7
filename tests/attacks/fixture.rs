//! A small vault with each kind of object, its earlier states, and the contents of its records.

use std::collections::BTreeMap;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::internals::keys::Keyring;
use chartlock::storage::{Expect, FaultAction, FaultPoint, Operation, Transaction};
use chartlock::verify::VerifyReport;
use chartlock::{Checkpoint, Document, Session, Vault};

use crate::common::journal::unlocked;
use crate::common::objects::{Objects, objects_of};
use crate::common::{Fixed, Shared, Stage, record, session, subject};

/// Credential of the insider, whose slot is removed.
pub(crate) const INSIDER: Fixed = Fixed(4);
/// Credential of an auditor whose slot stays.
pub(crate) const AUDITOR: Fixed = Fixed(2);

/// Patient and name of a record.
pub(crate) type Id = (&'static str, &'static str);

/// Contents of each record by version, beginning with version 1. `None` is a retraction, an expunge or
/// an erasure.
pub(crate) type Contents = BTreeMap<Id, Vec<Option<Vec<u8>>>>;

/// Header, keys and objects that a person copied.
pub(crate) struct Copied {
    pub(crate) header: Vec<u8>,
    pub(crate) keyring: Keyring,
    pub(crate) objects: Objects,
}

/// The vault, as the last process left it.
pub(crate) struct Fixture {
    pub(crate) now: Objects,
    /// Earlier states of the whole storage, oldest first.
    pub(crate) earlier: Vec<(&'static str, Objects)>,
    pub(crate) contents: Contents,
    pub(crate) checkpoint: Checkpoint,
    /// Keys and objects that the insider copied before all key rotations.
    pub(crate) copied: Copied,
}

/// Returns all objects of a storage.
pub(crate) fn objects(storage: &Shared) -> Objects {
    objects_of(&**storage, b"")
}

/// Replaces the content of a storage with exactly these objects.
pub(crate) fn reset(storage: &Shared, to: &Objects) {
    let present = objects(storage);
    let gone = present.keys().filter(|key| !to.contains_key(*key));
    let deletes = gone.map(|key| Transaction::new().delete(&key[..]));
    let changed = (to.iter()).filter(|(key, value)| present.get(*key) != Some(value));
    let puts =
        changed.map(|(key, value)| Transaction::new().put(&key[..], &value[..], Expect::Any));
    let transactions: Vec<_> = deletes.chain(puts).collect();
    for result in storage.commit(&transactions) {
        result.unwrap();
    }
}

/// Advances the stage's clock, then opens the vault.
pub(crate) fn open(stage: &Stage) -> Vault {
    stage.clock.advance(5_000);
    stage.open_by(stage.options_on_clock().without_background())
}

fn large(seed: u8) -> Vec<u8> {
    (0..=INLINE_MAX).map(|at| at as u8 ^ seed).collect()
}

/// Puts a version and remembers its content.
struct Author<'a> {
    session: Session,
    contents: &'a mut Contents,
}

impl Author<'_> {
    fn put(&mut self, id: Id, content: &[u8]) {
        self.session.put(&record(id.0, id.1), content).unwrap();
        let versions = self.contents.entry(id).or_default();
        versions.push(Some(content.to_vec()));
    }

    /// Remembers that the current version has no content.
    fn end(&mut self, id: Id) {
        self.contents.get_mut(&id).unwrap().push(None);
    }
}

/// First process: records of each kind, auditors, and the insider's slot.
fn first_process(vault: &Vault, contents: &mut Contents) -> u16 {
    vault.add_auditor_slot(&AUDITOR).unwrap();
    vault.add_auditor_slot(&Fixed(3)).unwrap();
    let slot = vault.add_slot(&INSIDER).unwrap();
    let session = session(vault);
    let mut author = Author { session, contents };
    author.put(("MRN-1", "amended"), b"first");
    author.put(("MRN-1", "amended"), b"second");
    author.put(("MRN-1", "retracted"), b"to be retracted");
    author
        .session
        .retract(&record("MRN-1", "retracted"))
        .unwrap();
    author.end(("MRN-1", "retracted"));
    author.put(("MRN-1", "large"), &large(1));
    author.put(("MRN-1", "misfiled"), b"of another patient");
    author.put(("MRN-2", "only"), b"single");
    author.put(("MRN-2", "amended"), b"before");
    author.put(("MRN-3", "erased"), b"to be erased");
    author.put(("MRN-4", "held"), b"under a hold");
    let bait = Document::new("bait").honeytoken();
    let id = record("MRN-4", "bait");
    author.session.put(&id, bait).unwrap();
    (author.contents).insert(("MRN-4", "bait"), vec![Some(b"bait".to_vec())]);
    slot
}

/// Second process: new versions, an expunge, an erasure and a legal hold.
fn second_process(vault: &Vault, contents: &mut Contents) {
    let session = session(vault);
    let mut author = Author { session, contents };
    author.put(("MRN-1", "amended"), b"third");
    author.put(("MRN-2", "amended"), b"after");
    author.put(("MRN-1", "large"), &large(2));
    let session = &author.session;
    session
        .expunge(&record("MRN-1", "misfiled"), "misfiled")
        .unwrap();
    session
        .erase_subject(&subject("MRN-3"), "asked for")
        .unwrap();
    session.place_hold(&subject("MRN-4"), "a lawsuit").unwrap();
    author.end(("MRN-1", "misfiled"));
    author.end(("MRN-3", "erased"));
}

/// Third process: the insider leaves, and the keys are replaced.
fn third_process(vault: &Vault, contents: &mut Contents, slot: u16) {
    vault.remove_slot(slot).unwrap();
    vault
        .rotate_journal_keys(&[&AUDITOR, &Fixed(3)], &[])
        .unwrap();
    vault
        .rotate_root_key(&[&Fixed(1), &AUDITOR, &Fixed(3)], &[])
        .unwrap();
    vault.rotate_master_key().unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    let session = session(vault);
    let mut author = Author { session, contents };
    author.put(("MRN-1", "amended"), b"fourth");
    author.put(("MRN-2", "scan"), &large(4));
    author.put(("MRN-2", "mistyped"), b"of nobody");
    author.put(("MRN-5", "late"), b"erased under the current master key");
}

/// Last process: ends what the third process began, verifies, and makes a checkpoint.
fn last_process(vault: &Vault, contents: &mut Contents) -> Checkpoint {
    let session = session(vault);
    let mut author = Author { session, contents };
    author.put(("MRN-2", "amended"), b"at last");
    author.put(("MRN-2", "scan"), &large(5));
    let session = &author.session;
    session
        .expunge(&record("MRN-2", "mistyped"), "mistyped")
        .unwrap();
    session
        .erase_subject(&subject("MRN-5"), "asked for")
        .unwrap();
    author.end(("MRN-2", "mistyped"));
    author.end(("MRN-5", "late"));
    vault.verify(None).unwrap();
    vault.checkpoint().unwrap()
}

/// Fourth process: an upload that stops before its record, as after a crash.
fn interrupted_upload(stage: &Stage) {
    let faulty = stage.faulty(|_, point| match point {
        FaultPoint::Commit(operations) if operations.iter().any(puts_record) => FaultAction::Stop,
        _ => FaultAction::Proceed,
    });
    stage.clock.advance(5_000);
    let options = stage.options_on_clock().without_background();
    let vault = options.open(faulty, &Fixed(1)).unwrap();
    let id = record("MRN-2", "abandoned");
    assert!(session(&vault).put(&id, &large(3)).is_err());
}

fn puts_record(operation: &Operation) -> bool {
    matches!(operation, Operation::Put { key, .. } if key[0] == b'r')
}

fn copied(storage: &Shared) -> Copied {
    let (_, unlocked) = unlocked(&**storage);
    let objects = objects(storage);
    Copied {
        header: objects[&b"v"[..]].clone(),
        keyring: unlocked.keyring,
        objects,
    }
}

impl Fixture {
    /// Creates the vault on a stage.
    pub(crate) fn new(stage: &Stage) -> Self {
        let mut contents = Contents::new();
        let mut earlier = Vec::new();
        let vault = stage.create_by(stage.options_on_clock().without_background());
        let slot = first_process(&vault, &mut contents);
        drop(vault);
        earlier.push(("first process", objects(&stage.storage)));
        second_process(&open(stage), &mut contents);
        earlier.push(("second process", objects(&stage.storage)));
        let copied = copied(&stage.storage);
        let vault = open(stage);
        third_process(&vault, &mut contents, slot);
        drop(vault);
        earlier.push(("key rotations", objects(&stage.storage)));
        interrupted_upload(stage);
        earlier.push(("interrupted upload", objects(&stage.storage)));
        let checkpoint = last_process(&open(stage), &mut contents);
        let fixture = Self {
            now: objects(&stage.storage),
            earlier,
            contents,
            checkpoint,
            copied,
        };
        fixture.assert_whole(stage);
        fixture
    }

    /// Returns the storage key and the earlier value of a record that a later version replaced under the
    /// same patient key.
    pub(crate) fn older_record(&self) -> (Vec<u8>, Vec<u8>) {
        let (_, earlier) = self.earlier.last().unwrap();
        let mut older = (earlier.iter()).filter(|(key, value)| {
            key[0] == b'r' && self.now.get(*key).is_some_and(|now| now != *value)
        });
        let (key, value) = older.next().unwrap();
        (key.clone(), value.clone())
    }

    /// Asserts that the vault has an object of each class and no finding.
    fn assert_whole(&self, stage: &Stage) {
        for class in *b"vprhswja" {
            let class = char::from(class);
            assert!(
                self.now.keys().any(|key| char::from(key[0]) == class),
                "{class}"
            );
        }
        let [without, with] = self.verify(&open(stage));
        assert!(without.is_clean(), "{without:#?}");
        assert!(with.is_clean(), "{with:#?}");
        reset(&stage.storage, &self.now);
    }

    /// Verifies a vault with all content, without and with the checkpoint.
    pub(crate) fn verify(&self, vault: &Vault) -> [VerifyReport; 2] {
        let without = vault.verification().with_content().finish().unwrap();
        let with = vault.verification().with_checkpoint(&self.checkpoint);
        [without, with.with_content().finish().unwrap()]
    }
}
