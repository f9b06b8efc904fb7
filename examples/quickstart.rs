//! The example of the README, in a directory: `cargo run --example quickstart [-- DIRECTORY]`.
//! Without one it is temporary.

use chartlock::{Actor, FileStorage, Purpose, RecordId, Vault, keys::Passphrase};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scratch = tempfile::tempdir()?;
    let directory = std::env::args_os().nth(1).map(Into::into);
    let directory = directory.unwrap_or_else(|| scratch.path().join("clinic"));

    let storage = FileStorage::open(directory)?;
    let vault = Vault::create(storage, &Passphrase::new("correct horse battery staple"))?; // later: open
    let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);

    let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
    chart.put(&id, br#"{"systolic":120,"diastolic":80}"#)?;
    let record = chart.get(&id)?.ok_or("just written")?; // derefs to [u8], wiped on drop

    vault.rotate_master_key()?; // no record is rewritten

    println!("Version {}: {} bytes.", record.version(), record.len());
    Ok(())
}
