//! Parent process, which reads the child's memory at each stage and searches it for every secret
//! that the child used.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use chartlock::keys::{Both, KeyFile, Passphrase, Share, Shares};
use chartlock::storage::FileStorage;
use chartlock::{CipherSuite, Vault, VaultOptions};

use crate::child;
#[cfg(feature = "transit")]
use crate::common::openbao::OpenBao;
#[cfg(feature = "pkcs11")]
use crate::common::scratch::set_mode;
#[cfg(feature = "pkcs11")]
use crate::common::softhsm::{self, SoftHsm};
use crate::common::{self, session};
use crate::content::{CONTENTS, JSON, LEAKED, content, digits};
use crate::image::{Image, Pieces};
use crate::secrets;

/// Secrets that must be found while the vault is in use, which shows that the search works. The
/// last of them is in memory as the first AES round keys or in the ChaCha20 state.
const IN_USE: [&str; 13] = [
    child::PASSPHRASE.0,
    "slot secret",
    "root key",
    "master key",
    "name key",
    "journal key",
    "patient name key",
    "patient key",
    CONTENTS[0].0,
    CONTENTS[2].0,
    CONTENTS[5].0,
    LEAKED.0,
    "derived: chunk key",
];

pub(crate) fn check_memory(suite: CipherSuite, seed: u64) {
    let scratch = tempfile::tempdir().unwrap();
    prepare(scratch.path(), suite, seed);
    search(scratch.path(), seed, Pieces::default());
}

/// Checks the memory of a child that also opens the vault with a token.
#[cfg(feature = "pkcs11")]
pub(crate) fn check_memory_with_token(suite: CipherSuite, seed: u64, hsm: &SoftHsm) {
    let directory = &hsm.directory;
    prepare(directory, suite, seed);
    let storage = FileStorage::open(directory.join("data")).unwrap();
    let key_file = KeyFile::open(directory.join("key")).unwrap();
    let vault = Vault::open(storage, &key_file).unwrap();
    let pin = digits(seed, child::PIN);
    hsm.add_token_with_pin(child::TOKEN, std::str::from_utf8(&pin).unwrap());
    let options = hsm.options().token_label(child::TOKEN);
    let token = options.pin(&pin[..]).unwrap().open().unwrap();
    let token = softhsm::credential(&token);
    vault.add_slot(&token).unwrap();
    drop(vault);
    let module = hsm.module.as_os_str().as_encoded_bytes();
    std::fs::write(directory.join(child::MODULE), module).unwrap();
    std::fs::write(directory.join(child::PIN_FILE), &*pin).unwrap();
    set_mode(&directory.join(child::PIN_FILE), 0o600);
    let mut pieces = Pieces::default();
    let storage = FileStorage::open(directory.join("data")).unwrap();
    secrets::add(&storage, &token, &mut pieces);
    drop(storage);
    search(directory, seed, pieces);
}

/// Checks the memory of a child that also opens the vault with a key of the transit engine.
#[cfg(feature = "transit")]
pub(crate) fn check_memory_with_service(suite: CipherSuite, seed: u64, server: &OpenBao) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path();
    prepare(directory, suite, seed);
    let storage = FileStorage::open(directory.join("data")).unwrap();
    let key_file = KeyFile::open(directory.join("key")).unwrap();
    let key = server.key();
    let transit = server.transit(&key);
    let vault = Vault::open(storage, &key_file).unwrap();
    vault.add_slot(&transit).unwrap();
    drop(vault);
    let address = format!("{} {key}", server.address());
    std::fs::write(directory.join(child::SERVICE), address).unwrap();
    let path = format!("transit/decrypt/{key}");
    let token = server.token(&key, &[(&path, "update")]);
    std::fs::write(directory.join(child::TOKEN_FILE), &token).unwrap();
    set_mode(&directory.join(child::TOKEN_FILE), 0o600);
    let mut pieces = Pieces::default();
    let storage = FileStorage::open(directory.join("data")).unwrap();
    secrets::add(&storage, &transit, &mut pieces);
    drop(storage);
    search(directory, seed, pieces);
}

/// Number of runs of the child. In some runs, a fragment of a key is found in memory that was freed, half of an HMAC
/// state for example, and its cause is not known. What is not wiped at all is found in every run.
const RUNS: usize = 3;

/// Runs the child, and searches its memory for the pieces and for the secrets of the vault. Fails for a secret that
/// remains in each of several runs.
fn search(directory: &Path, seed: u64, mut pieces: Pieces) {
    let mut remaining = BTreeSet::new();
    for run in 0..RUNS {
        let Some(found) = secrets_after_lock(directory, seed, &mut pieces) else {
            return;
        };
        remaining = match run {
            0 => found,
            _ => &remaining & &found,
        };
        if remaining.is_empty() {
            return;
        }
        println!("run {run}: {remaining:?}");
    }
    panic!("in the memory after each run: {remaining:?}");
}

/// Runs the child, and returns the names of the secrets that it left. Returns `None` if this system does not let a
/// parent read its child's memory.
fn secrets_after_lock(
    directory: &Path,
    seed: u64,
    pieces: &mut Pieces,
) -> Option<BTreeSet<String>> {
    // Add the keys before the child runs as well, because the child's rotations replace them.
    add_secrets(directory, seed, pieces);
    let images = match images_of_a_child(directory, seed) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            println!("skipped: this system does not let a parent read its child's memory");
            return None;
        }
        images => images.unwrap(),
    };
    add_secrets(directory, seed, pieces);

    let [in_use, locked, dropped] = images.map(|image| {
        let found = image.find(pieces);
        println!("{} MiB: {found:#?}", image.size() >> 20);
        found
    });
    for what in IN_USE {
        assert!(in_use.contains_key(what), "{what} was not found in use");
    }
    let mut remaining = BTreeSet::new();
    for found in [locked, dropped] {
        let mut names: BTreeSet<String> = found.into_keys().collect();
        assert!(
            names.remove(LEAKED.0),
            "the search found no copy of the app"
        );
        remaining.append(&mut names);
    }
    Some(remaining)
}

fn passphrase(seed: u64) -> Passphrase {
    // Use the cheapest cost, because the key derivation wipes its memory at any cost.
    common::passphrase(digits(seed, child::PASSPHRASE).to_vec())
}

/// Creates a vault with a key file, a passphrase and two records.
fn prepare(directory: &Path, suite: CipherSuite, seed: u64) {
    let key_file = KeyFile::create(directory.join("key")).unwrap();
    let storage = FileStorage::open(directory.join("data")).unwrap();
    let options = VaultOptions::new().cipher_suite(suite);
    let vault = options.create(storage, &key_file).unwrap();
    vault.add_slot(&passphrase(seed)).unwrap();
    let shares = Shares::split(2, 3).unwrap();
    vault.add_slot(&shares).unwrap();
    vault.add_slot(&Both::new(&key_file, &shares)).unwrap();
    for (name, share) in child::SHARES.iter().zip(shares.all()) {
        std::fs::write(directory.join(name), share.to_text().as_bytes()).unwrap();
    }
    for what in [CONTENTS[0], LEAKED] {
        let (id, content) = (child::id(what), content(seed, what));
        session(&vault).put(&id, &content).unwrap();
    }
}

fn add_secrets(directory: &Path, seed: u64, pieces: &mut Pieces) {
    for what in CONTENTS.into_iter().chain([LEAKED]) {
        pieces.add(what.0, &content(seed, what));
    }
    for what in [JSON, child::PASSPHRASE] {
        pieces.add(what.0, &digits(seed, what));
    }
    let key_file = KeyFile::open(directory.join("key")).unwrap();
    let text = key_file.to_text();
    pieces.add("key file", text.lines().nth(1).unwrap().as_bytes());
    let storage = FileStorage::open(directory.join("data")).unwrap();
    secrets::add(&storage, &key_file, pieces);
    secrets::add(&storage, &passphrase(seed), pieces);
    add_shares(directory, &storage, &key_file, pieces);
}

fn add_shares(directory: &Path, storage: &FileStorage, key_file: &KeyFile, pieces: &mut Pieces) {
    let text = |name| std::fs::read_to_string(directory.join(name)).unwrap();
    let texts = child::SHARES.map(text);
    for text in &texts {
        let symbols = Share::from_text(text).unwrap().to_qr_text();
        pieces.add("share", symbols.as_bytes());
        // The heading is no secret.
        for line in text.lines().skip(1) {
            pieces.add("share", line.as_bytes());
        }
    }
    let shares = Shares::from_texts(&texts).unwrap();
    secrets::add(storage, &shares, pieces);
    secrets::add(storage, &Both::new(key_file, &shares), pieces);
}

/// Runs the child, and returns a snapshot of its memory at each stage.
fn images_of_a_child(directory: &Path, seed: u64) -> io::Result<[Image; 3]> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "child::child_uses_vault",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(child::DIRECTORY, directory)
        .env(child::SEED, seed.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut proceed = child.stdin.take().unwrap();
    let images = child::STAGES.map(|stage| {
        let reached = lines.any(|line| line.unwrap().ends_with(stage));
        assert!(reached, "the child exited before it was {stage}");
        let image = Image::of(child.id());
        writeln!(proceed).unwrap();
        image
    });
    lines.for_each(drop);
    assert!(child.wait()?.success());
    let [in_use, locked, dropped] = images;
    Ok([in_use?, locked?, dropped?])
}
