//! A clinic's yearly key rotation, during which another thread writes records.
//!
//! `cargo run --release --example rotate [-- DIRECTORY]`; `-- --help` describes the options.

#[macro_use]
mod common;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chartlock::keys::Passphrase;
use chartlock::{
    Actor, Document, FileStorage, Purpose, RecordId, Session, Vault,
    progress::{Phase, ProgressUpdate},
    report::RotationReport,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use common::{Arguments, Outcome};

const USAGE: &str = "\
Rotates the master key of a vault while a writer is active, changes the passphrase, and writes a recovery kit.

    cargo run --release --example rotate [-- DIRECTORY]

DIRECTORY   the directory of a vault; a new vault with 1,000 records is created if there is none. The
            example writes records, so use a copy of your vault. The recovery kit is written next to the
            directory, as DIRECTORY.recovery-kit. Without DIRECTORY everything is temporary.

The environment variables OLD_PASSPHRASE and NEW_PASSPHRASE set the two passphrases. Without them, the
example uses demonstration passphrases.";

const PATIENTS: u32 = 200;
const RECORDS_EACH: u32 = 5;

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    let given = arguments.directory()?;
    let scratch = tempfile::tempdir()?;
    let is_temporary = given.is_none();
    let directory = given.unwrap_or_else(|| scratch.path().join("clinic"));
    // Determine the kit's path before any key changes, so that an invalid path fails early.
    let kit = common::next_to(&directory, ".recovery-kit")?;
    let old = passphrase("OLD_PASSPHRASE", "what we remembered last year")?;
    let new = passphrase("NEW_PASSPHRASE", "what we remember this year")?;

    let vault = open_or_create(&directory, &old)?;
    show("key usage before", &vault.key_usage()?)?;

    outln!("Rotating the master key while a writer is active.");
    let (report, written) = rotate_while_writing(&vault)?;
    show("master key", &report)?;
    outln!(
        "{written} records were written meanwhile, and all of them were read back. The writer resealed"
    );
    outln!("the patient entries that it used first, and the rotation resealed the others.\n");
    show("key usage after", &vault.key_usage()?)?;

    outln!("Changing the passphrase.");
    replace_passphrase(&vault, &new)?;
    show("slots", &vault.slots()?)?;

    // Replace the old kit, because a rotation makes older kits stale.
    let next = common::next_to(&directory, ".recovery-kit.new")?;
    fs::write(&next, vault.recovery_kit()?.as_bytes())?;
    fs::rename(&next, &kit)?;
    if is_temporary {
        outln!("A new recovery kit was written. The vault is temporary in this demonstration:");
        outln!(
            "the kit is deleted with it at the end. In production, keep the kit away from the storage:"
        );
    } else {
        outln!("A new recovery kit is in {}.", kit.display());
        outln!("Move it to a place away from the storage:");
    }
    outln!("if the vault header is lost, only the kit can restore access to the records.\n");
    drop(vault);

    let refused = Vault::open(FileStorage::open(&directory)?, &old);
    outln!(
        "Opening with the old passphrase: {}.",
        refused
            .err()
            .ok_or("the old passphrase still opens the vault")?
    );
    let vault = Vault::open(FileStorage::open(&directory)?, &new)?;
    outln!(
        "The new passphrase opens a vault of {} records.",
        vault.key_usage()?.records
    );
    Ok(())
}

fn show(what: &str, report: &impl Serialize) -> Outcome<()> {
    outln!("{what}: {}\n", serde_json::to_string_pretty(report)?);
    Ok(())
}

fn passphrase(variable: &str, demonstration: &str) -> Outcome<Passphrase> {
    let given = common::passphrase_from(variable)?;
    if given.is_none() {
        outln!("{variable} is not set; using \"{demonstration}\".");
    }
    Ok(Passphrase::new(
        given.unwrap_or_else(|| demonstration.to_owned()),
    ))
}

fn open_or_create(directory: &Path, passphrase: &Passphrase) -> Outcome<Vault> {
    let storage = FileStorage::open(directory)?;
    match Vault::open(storage, passphrase) {
        Err(chartlock::Error::NoVault) => create(directory, passphrase),
        opened => Ok(opened?),
    }
}

fn create(directory: &Path, passphrase: &Passphrase) -> Outcome<Vault> {
    let vault = Vault::create(FileStorage::open(directory)?, passphrase)?;
    let session = session(&vault)?;
    let ids = (0..PATIENTS * RECORDS_EACH)
        .map(|number| {
            let patient = format!("MRN-{}", 1000 + number / RECORDS_EACH);
            RecordId::patient(&patient, &format!("Observation/{number}"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let content = br#"{"resourceType":"Observation","status":"final"}"#;
    for outcome in session.put_many(ids.iter().map(|id| (id, Document::new(content))))? {
        outcome?;
    }
    Ok(vault)
}

fn session(vault: &Vault) -> Outcome<Session> {
    Ok(vault.session(Actor::new("rotate example")?, Purpose::SystemAdministration))
}

/// Rotates the master key while another thread writes records. Reads these records back and returns
/// their count.
fn rotate_while_writing(vault: &Vault) -> Outcome<(RotationReport, usize)> {
    let entries = vault.key_usage()?.subjects;
    let style = ProgressStyle::with_template("  [{bar:40}] {pos} of {len} patient entries")?;
    let bar = ProgressBar::new(entries).with_style(style);
    let shown = bar.clone();
    let vault_with_bar = vault.with_progress(move |step: ProgressUpdate| {
        if step.phase == Phase::Resealing {
            shown.set_position(step.done);
        }
    });
    let done = AtomicBool::new(false);
    let (report, written) = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(vault, &done));
        let report = vault_with_bar.rotate_master_key();
        done.store(true, Ordering::Relaxed);
        (report, writer.join())
    });
    bar.finish_and_clear();

    let written = written.map_err(|_| "the writer panicked")??;
    let session = session(vault)?;
    for id in &written {
        session
            .get(id)?
            .ok_or("a record that was written is missing")?;
    }
    Ok((report?, written.len()))
}

fn write_until(vault: &Vault, done: &AtomicBool) -> Outcome<Vec<RecordId>> {
    let session = session(vault)?;
    let mut written = Vec::new();
    for number in 0_u32.. {
        let patient = format!("MRN-{}", 1000 + number % PATIENTS);
        let id = RecordId::patient(&patient, &format!("Observation/meanwhile-{number}"))?;
        session.put(&id, br#"{"resourceType":"Observation"}"#)?;
        written.push(id);
        if done.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(written)
}

/// Replaces the passphrase in its slot. The old passphrase and an old copy of the header still give
/// the root key, so rotate the root key instead if a person leaves.
fn replace_passphrase(vault: &Vault, new: &Passphrase) -> Outcome<()> {
    let slots = vault.slots()?;
    let passphrase = slots.iter().find(|slot| slot.kind == 1);
    let passphrase = passphrase.ok_or("no passphrase opens this vault")?;
    vault.replace_slot(passphrase.id, new)?;
    Ok(())
}
