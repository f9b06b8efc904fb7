//! A minimal app with a vault. `measure.py` builds this app for each combination of features.

use std::error::Error;

use chartlock::keys::Passphrase;
use chartlock::{Actor, Purpose, RecordId, Vault};

fn main() -> Result<(), Box<dyn Error>> {
    let passphrase = Passphrase::new("correct horse battery staple");
    #[cfg(feature = "file")]
    let storage = chartlock::FileStorage::open(std::env::args().nth(1).ok_or("a directory")?)?;
    #[cfg(not(feature = "file"))]
    let storage = chartlock::MemoryStorage::new();
    let vault = Vault::create(storage, &passphrase)?;
    let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
    session.put(&id, br#"{"systolic":120,"diastolic":80}"#)?;
    println!("{}", session.get(&id)?.ok_or("just written")?.len());
    #[cfg(feature = "json")]
    {
        session.put_json(&id, &[120, 80])?;
        println!("{:?}", session.get_json::<[u8; 2]>(&id)?);
    }
    #[cfg(feature = "conformance")]
    println!(
        "{:?}",
        chartlock::storage::conformance::check(chartlock::MemoryStorage::new)?
    );
    vault.rotate_master_key()?;
    Ok(())
}
