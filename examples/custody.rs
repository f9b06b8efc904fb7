//! A clinic opens its vault with spare credentials: an HSM fails, a director leaves, and three of five holders of
//! recovery shares combine them.
//!
//! `cargo run --release --example custody`: the vault is temporary, and the HSM is simulated.

#[macro_use]
mod common;
#[path = "custody/hsm.rs"]
mod hsm;

use std::path::Path;
use std::process::ExitCode;

use chartlock::keys::{Both, Credential, KeyFile, Labelled, Passphrase, Share, Shares, SlotLabel};
use chartlock::{Actor, Error, FileStorage, Purpose, RecordId, Vault, audit::AuditItem};

use common::{Arguments, Outcome};
use hsm::Hsm;

const USAGE: &str = "\
A clinic opens its vault with spare credentials: an HSM fails, a director leaves, three of five holders of recovery
shares combine them, keys are rotated, and the recovery kit is renewed.

    cargo run --release --example custody

Takes no arguments. The vault is temporary, and the HSM is simulated. With the feature `pkcs11`, the credential
`Pkcs11` uses a real one.";

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    arguments.none()?;
    let scratch = tempfile::tempdir()?;
    let directory = scratch.path().join("clinic");
    let mut hsm = Hsm::new();
    let director = Director::new()?;
    let papers = create_vault(&directory, &hsm, &director)?;
    hsm.set_broken();
    open_without_hsm(&directory, &hsm, &director)?;
    replace_director(&directory, &papers, &director)
}

/// The director's two factors.
struct Director {
    key_file: KeyFile,
    passphrase: Passphrase,
}

impl Director {
    fn new() -> Outcome<Self> {
        Ok(Self {
            key_file: KeyFile::random()?,
            passphrase: Passphrase::new("four lanterns over the harbour"),
        })
    }

    fn both(&self) -> Both<'_> {
        Both::new(&self.key_file, &self.passphrase)
    }
}

fn open(directory: &Path, credentials: &[&dyn Credential]) -> Result<Vault, Error> {
    Vault::open_any(FileStorage::open(directory)?, credentials)
}

/// Creates the vault with three ways to open it, and returns the texts of the five shares.
fn create_vault(directory: &Path, hsm: &Hsm, director: &Director) -> Outcome<Vec<String>> {
    outln!("Monday: the vault gets three ways to open it.\n");
    let label = SlotLabel::new("HSM, server room")?;
    let vault = Vault::create(FileStorage::open(directory)?, &Labelled::new(hsm, label))?;
    let label = SlotLabel::new("director: key file and passphrase")?;
    vault.add_slot(&Labelled::new(&director.both(), label))?;
    let shares = Shares::split(3, 5)?;
    let label = SlotLabel::new("recovery shares, 3 of 5")?;
    vault.add_slot(&Labelled::new(&shares, label))?;
    let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    session.put(&record()?, br#"{"systolic":120,"diastolic":80}"#)?;
    list_slots(&vault)?;

    let papers: Vec<String> = (shares.all().iter())
        .map(|share| share.to_text().to_string())
        .collect();
    let first = papers.first().ok_or("five shares were split")?;
    outln!("The first of five shares, as it is printed for its holder:\n\n{first}");

    // A set that no drill has opened may not open the vault.
    let brought = Shares::from_texts(papers.get(1..4).ok_or("five shares were split")?)?;
    let slot = vault.try_credential(&brought)?;
    outln!("Drill: shares 2, 3 and 4 would open slot {}", slot.id);
    outln!(
        "(\"{}\"). No slot changed.\n",
        slot.label().unwrap_or_default()
    );
    vault.close()?;
    Ok(papers)
}

fn open_without_hsm(directory: &Path, hsm: &Hsm, director: &Director) -> Outcome<()> {
    outln!("Tuesday: the HSM does not respond.\n");
    let error = open(directory, &[hsm])
        .err()
        .ok_or("a broken HSM opens the vault")?;
    outln!("With the HSM alone: {error}.");
    let vault = open(directory, &[hsm, &director.both()])?;
    outln!("With the HSM and the director's two factors: the two factors open the vault.\n");
    Ok(vault.close()?)
}

fn replace_director(directory: &Path, papers: &[String], director: &Director) -> Outcome<()> {
    outln!("Wednesday: the director leaves, and three holders bring their shares.\n");
    let shares = combine_shares(papers)?;
    let vault = open(directory, &[&shares])?;
    outln!("Three shares open the vault.\n");

    let new_hsm = Hsm::new();
    let slots = vault.slots()?;
    let id_of = |kind| {
        slots
            .iter()
            .find(|slot| slot.kind == kind)
            .map(|slot| slot.id)
    };
    let (hsm_slot, director_slot) = (id_of(new_hsm.kind()), id_of(director.both().kind()));
    vault.replace_slot(hsm_slot.ok_or("the HSM has a slot")?, &new_hsm)?;
    let dropped = [director_slot.ok_or("the director has a slot")?];
    let keep: [&dyn Credential; 2] = [&new_hsm, &shares];
    let report = vault.rotate_root_key(&keep, &dropped)?;
    outln!(
        "The root key and the journal keys were rotated: {} slots kept, {} dropped.",
        report.slots_kept,
        report.slots_dropped
    );
    vault.rotate_master_key()?;
    // A rotation makes older kits stale.
    let kit = vault.recovery_kit()?;
    outln!(
        "The master key was rotated, and a new recovery kit of {} bytes was made.\n",
        kit.as_bytes().len()
    );
    list_slots(&vault)?;
    list_slot_entries(&vault)?;
    vault.close()?;

    let refused = open(directory, &[&director.both()]).err();
    let refused = refused.ok_or("the former director still opens the vault")?;
    outln!("The former director: {refused}.");
    let vault = open(directory, &[&new_hsm])?;
    let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
    let found = session.get(&record()?)?.ok_or("the record is gone")?;
    outln!(
        "The new HSM opens the vault, and the record is there: {} bytes.",
        found.len()
    );
    Ok(())
}

/// Combines three shares. First shows two errors: a wrong character, and a missing share.
fn combine_shares(papers: &[String]) -> Outcome<Shares> {
    let [_, second, third, _, fifth] = papers else {
        return Err("five shares were split".into());
    };
    // Change the last letter, as a typing error would.
    let is_letter = |symbol: char| symbol.is_ascii_uppercase();
    let place = second.rfind(is_letter).ok_or("a share has letters")?;
    let mut mistyped = second.clone();
    let wrong = if second.get(place..=place) == Some("B") {
        "D"
    } else {
        "B"
    };
    mistyped.replace_range(place..=place, wrong);
    for (title, texts) in [
        (
            "Shares 2 and 3, one wrong character",
            vec![&mistyped, third],
        ),
        ("Shares 2 and 3", vec![second, third]),
    ] {
        let error = Shares::from_texts(&texts)
            .err()
            .ok_or("two shares were enough")?;
        outln!("{title}: {error}.");
    }
    let mut shares = Vec::new();
    for text in [second, third, fifth] {
        shares.push(Share::from_text(text)?);
    }
    outln!("Shares 2, 3 and 5: complete.");
    Ok(Shares::combine(&shares)?)
}

fn list_slots(vault: &Vault) -> Outcome<()> {
    outln!("Slots of the vault:");
    for slot in vault.slots()? {
        let label = slot.label().unwrap_or("no label");
        outln!("  slot {:>5}   kind {:#06x}   {label}", slot.id, slot.kind);
    }
    outln!();
    Ok(())
}

fn list_slot_entries(vault: &Vault) -> Outcome<()> {
    outln!("Journal entries about slots:");
    let officer = vault.session(Actor::new("privacy.officer")?, Purpose::Operations);
    for item in officer.audit()?.entries(..)? {
        let AuditItem::Entry(entry) = item? else {
            return Err("a page of the journal is faulty".into());
        };
        if let Some(slot) = &entry.slot {
            outln!(
                "  {}   {}, slot {}: {}",
                entry.at,
                entry.operation,
                slot.id,
                entry.outcome
            );
        }
    }
    outln!();
    Ok(())
}

fn record() -> Result<RecordId, Error> {
    RecordId::patient("MRN-1042", "Observation/bp")
}
