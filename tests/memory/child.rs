//! Child process whose memory the parent inspects. The child opens, uses, locks and drops a vault.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::{io, mem};

#[cfg(feature = "transit")]
use chartlock::keys::TransitOptions;
use chartlock::keys::{Both, Credential, KeyFile, Passphrase, Shares};
#[cfg(feature = "pkcs11")]
use chartlock::keys::{Pkcs11, Pkcs11Options};
use chartlock::storage::FileStorage;
use chartlock::{Document, Record, RecordId, RecordReader, Session, Subject, Vault};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::common::session;
#[cfg(feature = "pkcs11")]
use crate::common::softhsm;
use crate::content::{CONTENTS, Device, JSON, LEAKED, content, digits};

pub(crate) const DIRECTORY: &str = "CHARTLOCK_MEMORY_DIRECTORY";
pub(crate) const SEED: &str = "CHARTLOCK_MEMORY_SEED";
pub(crate) const PASSPHRASE: (&str, usize) = ("passphrase", 40);
/// The files with the shares that the child combines.
pub(crate) const SHARES: [&str; 2] = ["share 1", "share 2"];
/// The file with the path of the token's module, if the child opens the vault with a token.
#[cfg(feature = "pkcs11")]
pub(crate) const MODULE: &str = "module";
#[cfg(feature = "pkcs11")]
pub(crate) const PIN_FILE: &str = "pin";
#[cfg(feature = "pkcs11")]
pub(crate) const PIN: (&str, usize) = ("PIN", 24);
#[cfg(feature = "pkcs11")]
pub(crate) const TOKEN: &str = "token with a generated PIN";
/// The file with the address and the key's name, if the child opens the vault with a key of the transit engine.
#[cfg(feature = "transit")]
pub(crate) const SERVICE: &str = "service";
#[cfg(feature = "transit")]
pub(crate) const TOKEN_FILE: &str = "access token";
/// The stages at which the parent reads the child's memory.
pub(crate) const STAGES: [&str; 3] = ["in use", "locked", "dropped"];

/// Runs the stages if the parent set the environment variables. Otherwise returns at once, because
/// the test runner also calls this function.
#[test]
fn child_uses_vault() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let directory = Path::new(&directory);
    let key_file = KeyFile::open(directory.join("key")).unwrap();
    open_and_read(directory, seed, &key_file);
    let shares = shares(directory);
    open_and_read(directory, seed, &shares);
    open_and_read(directory, seed, &Both::new(&key_file, &shares));
    #[cfg(feature = "pkcs11")]
    if let Ok(module) = std::fs::read_to_string(directory.join(MODULE)) {
        open_and_read(directory, seed, &token(&module, &directory.join(PIN_FILE)));
    }
    #[cfg(feature = "transit")]
    if let Ok(service) = std::fs::read_to_string(directory.join(SERVICE)) {
        let (address, key) = service.split_once(' ').unwrap();
        let options = TransitOptions::new(address, key).token_file(directory.join(TOKEN_FILE));
        open_and_read(directory, seed, &options.build().unwrap());
    }

    let storage = FileStorage::open(directory.join("data")).unwrap();
    let passphrase = Passphrase::new(mem::take(&mut *digits(seed, PASSPHRASE)));
    let vault = Vault::open(Arc::new(storage), &passphrase).unwrap();
    let in_use = work(&vault, seed);
    report_stage(STAGES[0]);
    drop((in_use, passphrase, key_file, shares));
    vault.lock();
    report_stage(STAGES[1]);
    drop(vault);
    report_stage(STAGES[2]);
}

/// Opens the token with the PIN in a file.
#[cfg(feature = "pkcs11")]
fn token(module: &str, pin: &Path) -> Pkcs11 {
    let options = Pkcs11Options::new(module).token_label(TOKEN);
    let token = options.pin_file(pin).unwrap().open().unwrap();
    Pkcs11::new(&token, softhsm::key())
}

/// Reports a stage to the parent, and waits until the parent has read the memory.
fn report_stage(stage: &str) {
    println!("stage {stage}");
    io::stdin().read_line(&mut String::new()).unwrap();
}

/// The patient of all records in this test.
pub(crate) fn subject() -> Subject {
    crate::common::subject("MRN-1042")
}

pub(crate) fn id((what, _): (&str, usize)) -> RecordId {
    RecordId::new(subject(), what).unwrap()
}

/// Recovers a set from the texts of its shares.
fn shares(directory: &Path) -> Shares {
    let texts = SHARES.map(|name| {
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        Zeroizing::new(text)
    });
    Shares::from_texts(&texts.each_ref().map(|text| text.as_str())).unwrap()
}

/// Opens a vault, reads a record, and drops the vault without locking it.
fn open_and_read(directory: &Path, seed: u64, credential: &dyn Credential) {
    let storage = FileStorage::open(directory.join("data")).unwrap();
    let vault = Vault::open(storage, credential).unwrap();
    let record = session(&vault).get(&id(CONTENTS[0])).unwrap().unwrap();
    assert!(record[..] == content(seed, CONTENTS[0])[..]);
}

/// Values that an app keeps while it uses a vault.
struct InUse {
    _record: Record,
    _reader: RecordReader,
    _small: RecordReader,
}

fn work(vault: &Vault, seed: u64) -> InUse {
    let session = session(vault);
    put_and_get(&session, seed);
    put_many(&session, seed);
    in_parts(&session, seed);
    json(&session, seed);
    leak(&session);
    vault.rotate_master_key().unwrap();
    vault.rotate_subject_key(&subject()).unwrap();
    session
        .put(&id(CONTENTS[7]), &content(seed, CONTENTS[7]))
        .unwrap();
    vault.reencrypt_subject(&subject()).unwrap();
    vault.verify(None).unwrap();
    let names: Result<Vec<_>, _> = session.list(&subject()).unwrap().collect();
    assert_eq!(names.unwrap().len(), CONTENTS.len() + 2);

    let mut reader = session.reader(&id(CONTENTS[5])).unwrap().unwrap();
    reader
        .read_exact(&mut Zeroizing::new([0; 100])[..])
        .unwrap();
    InUse {
        _record: session.get(&id(CONTENTS[0])).unwrap().unwrap(),
        _reader: reader,
        _small: session.reader(&id(CONTENTS[2])).unwrap().unwrap(),
    }
}

fn put_and_get(session: &Session, seed: u64) {
    for number in [0, 1, 4] {
        let (id, content) = (id(CONTENTS[number]), content(seed, CONTENTS[number]));
        session.put(&id, &content).unwrap();
        assert!(session.get(&id).unwrap().unwrap()[..] == content[..]);
    }
    let id = id(CONTENTS[1]);
    let version = session.put(&id, b"amended").unwrap();
    let former = session.get_version(&id, version - 1).unwrap().unwrap();
    assert!(former[..] == content(seed, CONTENTS[1])[..]);
    assert_eq!(session.history(&id).unwrap().len() as u64, version);
}

fn put_many(session: &Session, seed: u64) {
    let many = [2, 3].map(|number| (id(CONTENTS[number]), content(seed, CONTENTS[number])));
    let put = many
        .iter()
        .map(|(id, content)| (id, Document::new(&**content)));
    for put in session.put_many(put).unwrap() {
        put.unwrap();
    }
}

fn in_parts(session: &Session, seed: u64) {
    let id_in_order = id(CONTENTS[5]);
    session
        .put_reader(&id_in_order, Device::new(seed, CONTENTS[5]))
        .unwrap();
    let mut reader = session.reader(&id_in_order).unwrap().unwrap();
    let mut device = Device::new(seed, CONTENTS[5]);
    let [mut read, mut expected] = [(); 2].map(|()| Zeroizing::new(vec![0; 40_000]));
    loop {
        let bytes = reader.read(&mut read).unwrap();
        device.read_exact(&mut expected[..bytes]).unwrap();
        assert!(read[..bytes] == expected[..bytes]);
        if bytes == 0 {
            break;
        }
    }
    let id = id(CONTENTS[6]);
    let mut writer = session.writer(&id);
    for piece in content(seed, CONTENTS[6]).chunks(100_000) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap();
    let mut reader = session.reader(&id).unwrap().unwrap();
    assert_eq!(reader.read_at(1_000_000, &mut read).unwrap(), read.len());
    reader.seek(SeekFrom::End(-100)).unwrap();
    assert_eq!(reader.read(&mut read).unwrap(), 100);
}

/// Value that the app owns and wipes.
#[derive(Serialize, Deserialize)]
struct Measurement {
    digits: String,
}

impl Drop for Measurement {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

fn json(session: &Session, seed: u64) {
    let digits = mem::take(&mut *digits(seed, JSON));
    let digits = String::from_utf8(digits).unwrap();
    let measurement = Measurement { digits };
    session.put_json(&id(JSON), &measurement).unwrap();
    let read: Measurement = session.get_json(&id(JSON)).unwrap().unwrap();
    assert!(read.digits == measurement.digits);
}

/// Copies plaintext without wiping the copy. The parent must find this copy at every stage, which
/// shows that the search works.
fn leak(session: &Session) {
    let record = session.get(&id(LEAKED)).unwrap().unwrap();
    // Keep the unused copy, because otherwise the optimizer removes it.
    std::hint::black_box(Box::leak(Box::new(record.to_vec())));
}
