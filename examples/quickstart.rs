//! The README's first example: `cargo run --example quickstart [-- DIRECTORY]`.

#[macro_use]
mod common;

use std::process::ExitCode;

use chartlock::{Actor, FileStorage, Purpose, RecordId, Vault, keys::Passphrase};

use common::{Arguments, Outcome};

const USAGE: &str = "\
Creates a vault, stores a record, reads it back and rotates the master key.

    cargo run --example quickstart [-- DIRECTORY]

DIRECTORY   a new or empty directory for the vault. Without it, the vault is temporary.

The passphrase is the one in the source text.";

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    let directory = arguments.directory()?;
    let scratch = tempfile::tempdir()?;
    let directory = directory.unwrap_or_else(|| scratch.path().join("clinic"));

    let storage = FileStorage::open(directory)?;
    let vault = Vault::create(storage, &Passphrase::new("correct horse battery staple"))?; // later: open
    let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);

    let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
    session.put(&id, br#"{"systolic":120,"diastolic":80}"#)?;
    let record = session.get(&id)?.ok_or("just written")?; // derefs to [u8], wiped on drop

    vault.rotate_master_key()?; // rewrites no record

    outln!("Version {}: {} bytes.", record.version(), record.len());
    Ok(())
}
