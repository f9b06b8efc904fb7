//! Moves records from an SQLite table into a vault, with their times and authors, and compares both afterwards:
//! `cargo run --release --example migrate [-- DATABASE DIRECTORY]`.

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
mod comparison;
mod former_database;
mod sample_database;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chartlock::keys::Passphrase;
use chartlock::progress::ProgressUpdate;
use chartlock::{Actor, Error, FileStorage, ImportItem, ImportOutcome, Purpose, Session, Vault};

use common::{Argument, Arguments, Outcome, UsageError};
use former_database::FormerDatabase;

const USAGE: &str = "\
Moves the records of an SQLite table into a vault, and compares the vault with the table.

    cargo run --release --example migrate [-- DATABASE DIRECTORY]

DATABASE    an SQLite file with the table `resources`; see examples/migrate/former_database.rs.
            Without it, a sample with two synthetic patients.
DIRECTORY   the directory of the vault, which is created if it does not exist.

Run it again after an interruption: what is in the vault already is not written again.
The passphrase is in CHARTLOCK_PASSPHRASE; without this variable, it is the one in the source text.";

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    let places = places(arguments)?;
    let scratch = tempfile::tempdir()?;
    let (database, directory) = match places {
        Some(places) => places,
        None => {
            let database = scratch.path().join("former.db");
            sample_database::create(&database)?;
            (database, scratch.path().join("vault"))
        }
    };
    let former = FormerDatabase::open(&database)?;
    let vault = open_vault(directory)?;
    let (rows, progress) = (former.count()?, |update: ProgressUpdate| {
        outln!("  {}: {}", update.phase, update.done);
    });
    outln!("The table has {rows} records.");
    let migration = |vault: &Vault| -> Outcome<Session> {
        Ok(vault.session(Actor::new("migration")?, Purpose::SystemAdministration))
    };
    import(&migration(&vault.with_progress(progress))?, &former)?;

    let differences = comparison::compare(&migration(&vault)?, &former)?;
    outln!("{differences}");
    match differences.is_none() {
        true => Ok(()),
        false => Err("the vault and the table differ; do not delete the table".into()),
    }
}

fn import(session: &Session, former: &FormerDatabase) -> Outcome<()> {
    let mut reader = former.reader()?;
    let rows = reader.rows()?;
    // A row that cannot be read ends the import. A row without a valid id is reported and skipped.
    let items = rows.filter_map(|row| match row {
        Err(error) => Some(Err(error)),
        Ok(row) => match row.id() {
            Ok(id) => Some(Ok(ImportItem::new(id, row.document()))),
            Err(error) => {
                outln!("  not imported: row {}: {error}", row.number);
                None
            }
        },
    });
    let report = session.import(items, |item, outcome| {
        if let ImportOutcome::Failed(error) = outcome {
            outln!("  not imported: {:?}: {error}", item);
        }
    })?;
    outln!(
        "{} stored now, {} stored before, {} failed.",
        report.stored,
        report.already_stored,
        report.failed
    );
    Ok(())
}

fn open_vault(directory: PathBuf) -> Outcome<Vault> {
    let passphrase = common::passphrase_from("CHARTLOCK_PASSPHRASE")?;
    let passphrase = passphrase.unwrap_or_else(|| "correct horse battery staple".into());
    let passphrase = Passphrase::new(passphrase);
    let storage = Arc::new(FileStorage::open(directory)?);
    match Vault::open(Arc::clone(&storage), &passphrase) {
        Err(Error::NoVault) => Ok(Vault::create(storage, &passphrase)?),
        opened => Ok(opened?),
    }
}

/// Returns the database and the directory of the vault; `None` without arguments.
fn places(arguments: &mut Arguments) -> Outcome<Option<(PathBuf, PathBuf)>> {
    let mut places = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Option(option) => return Err(UsageError::unknown(&option).into()),
            Argument::Operand(place) => places.push(place),
        }
    }
    match <[PathBuf; 2]>::try_from(places) {
        Ok([database, directory]) => Ok(Some((database, directory))),
        Err(places) if places.is_empty() => Ok(None),
        Err(_) => Err(UsageError::new(
            "too many or too few arguments: name a database and a directory",
        )
        .into()),
    }
}
