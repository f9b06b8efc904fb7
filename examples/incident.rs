//! A day in a clinic: who read what, a denied read, broken glass, an allergy list that somebody put
//! back to an older state, and the questions that a privacy officer asks afterwards.
//!
//! `cargo run --release --example incident`: two synthetic patients of tests/data, in a directory that
//! is removed at the end.

#[macro_use]
mod common;
#[path = "incident/disk.rs"]
mod disk;
#[path = "incident/sample.rs"]
mod sample;
#[path = "incident/told.rs"]
mod told;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chartlock::audit::Exposed;
use chartlock::keys::Passphrase;
use chartlock::{
    Actor, Checkpoint, FileStorage, Operation, Purpose, Session, Vault, VaultOptions,
    access::{Rule, RulePolicy, SecurityEvent},
    progress::ProgressUpdate,
};
use indicatif::{ProgressBar, ProgressStyle};

use common::{Arguments, Outcome};
use disk::Disk;
use sample::{ALLERGIES, Patient, fhir};

const USAGE: &str = "\
A day in a clinic: who read what, a denied read, broken glass, a record put back to an older state, and
the questions that a privacy officer asks afterwards.

    cargo run --release --example incident

Takes no arguments. Reads two synthetic patients of tests/data; the vault is temporary.";

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    arguments.none()?;
    let scratch = tempfile::tempdir()?;
    let place = scratch.path().join("clinic");
    let arlen = Patient::read("Arlen_Ward_ee510063")?;
    let jan = Patient::read("Jan_Harris_ecfd27e5")?;

    let stolen = file_charts(&place, &[&arlen, &jan])?;
    let (checkpoint, backup) = work(&place, &arlen)?;
    tamper(&place, &stolen)?;
    find(&place, &arlen, &checkpoint)?;
    repair(&place, &backup, &checkpoint)?;
    ask(&place, &arlen, &jan)?;
    erase(&place, &jan)
}

/// What the clinic starts from; a team would begin with its own.
fn rules() -> Outcome<RulePolicy> {
    Ok(RulePolicy::new([
        Rule::deny().purpose(Purpose::Marketing),
        Rule::permit().actor("import").operation(Operation::Put),
        Rule::permit()
            .actor("dr.*")
            .purpose(Purpose::Treatment)
            .reading()
            .writing(),
        Rule::permit()
            .actor("desk.*")
            .purpose(Purpose::PatientAdministration)
            .label("administration"),
        Rule::permit()
            .actor("privacy.officer")
            .governing()
            .auditing(),
    ])?)
}

fn options() -> Outcome<VaultOptions> {
    let options = VaultOptions::new().policy(rules()?);
    Ok(options.on_security_event(|event: &SecurityEvent| {
        let who = event.actor().map_or("nobody in particular", Actor::name);
        outln!("  >> to the security desk: {event} ({who})");
    }))
}

fn key() -> Passphrase {
    Passphrase::new("everybody knows this passphrase")
}

fn open(place: &Path) -> Outcome<Vault> {
    Ok(options()?.open(FileStorage::open(place)?, &key())?)
}

fn session(vault: &Vault, actor: &str, purpose: Purpose) -> Outcome<Session> {
    Ok(vault.session(Actor::new(actor)?, purpose))
}

/// Also answers what somebody holds who copies the disk that night.
fn file_charts(place: &Path, patients: &[&Patient]) -> Outcome<Disk> {
    told::chapter("Yesterday: two charts are filed");
    let vault = options()?.create(FileStorage::open(place)?, &key())?;
    let import = session(&vault, "import", Purpose::SystemAdministration)?;
    for patient in patients {
        let filed = patient.file(&import)?;
        outln!("import files {filed} records of {}.", patient.name);
    }
    // A session keeps its vault open.
    drop((import, vault));
    Disk::copy(place)
}

/// Answers the evening's checkpoint, as text, and the evening's backup.
fn work(place: &Path, arlen: &Patient) -> Outcome<(String, Disk)> {
    told::chapter("Today: reads, and one that is denied");
    let vault = open(place)?;
    let garcia = session(&vault, "dr.garcia", Purpose::Treatment)?;
    told::allergies(&garcia, arlen)?;
    let list = arlen.allergy_list(true);
    let version = garcia.put(&arlen.record(ALLERGIES)?, fhir(&list).label("clinical"))?;
    outln!("dr.garcia adds what the patient tells: version {version} of the list.");

    let lee = session(&vault, "desk.lee", Purpose::PatientAdministration)?;
    let (coverage, note) = (arlen.first("Coverage")?, arlen.first("DocumentReference")?);
    lee.get(&coverage)?.ok_or("there is no coverage")?;
    outln!("desk.lee reads who pays: the rules permit it.");
    let denied = lee.get(&note).err().ok_or("a note was shown")?;
    outln!("desk.lee opens a clinical note: {denied}.");

    told::chapter("The emergency room: somebody breaks the glass");
    let locum = session(&vault, "locum.okafor", Purpose::EmergencyTreatment)?;
    let list = arlen.record(ALLERGIES)?;
    let denied = locum.get(&list).err().ok_or("no rule permits it")?;
    outln!("locum.okafor is in no rule: {denied}.");
    let (why, half_an_hour) = ("unconscious, short of breath", Duration::from_secs(1800));
    let okafor = vault.break_glass(Actor::new("locum.okafor")?, why, half_an_hour)?;
    told::allergies(&okafor, arlen)?;

    told::chapter("The evening: a checkpoint, on paper");
    let checkpoint = vault.checkpoint()?.to_string();
    outln!("{checkpoint}");
    // A session keeps its vault open.
    drop((garcia, lee, locum, okafor, vault));
    Ok((checkpoint, Disk::copy(place)?))
}

fn tamper(place: &Path, stolen: &Disk) -> Outcome<()> {
    told::chapter("The night: somebody with access to the disk, and without any key");
    let records = stolen.put_back(place)?;
    outln!("{records} record is put back to its bytes of yesterday. They are authentic.");
    Ok(())
}

fn find(place: &Path, arlen: &Patient, checkpoint: &str) -> Outcome<()> {
    told::chapter("The next morning: nothing looks wrong, until it is verified");
    let vault = open(place)?;
    told::allergies(&session(&vault, "dr.garcia", Purpose::Treatment)?, arlen)?;
    let report = verify(&vault, checkpoint)?;
    told::findings(&report, arlen);
    match report.is_clean() {
        true => Err("a list that was put back was not found".into()),
        false => Ok(()),
    }
}

fn repair(place: &Path, backup: &Disk, checkpoint: &str) -> Outcome<()> {
    told::chapter("The repair: the record from the evening's backup");
    backup.put_back(place)?;
    let vault = open(place)?;
    match verify(&vault, checkpoint)?.is_clean() {
        true => outln!("Verified again: everything stands as it was written."),
        false => return Err("the repair did not do".into()),
    }
    Ok(())
}

fn verify(vault: &Vault, checkpoint: &str) -> Outcome<chartlock::verify::VerifyReport> {
    let checkpoint: Checkpoint = checkpoint.parse()?;
    let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos}")?;
    let bar = ProgressBar::no_length().with_style(style);
    let watched = bar.clone();
    let vault = vault.with_progress(move |step: ProgressUpdate| {
        watched.set_message(step.phase.to_string());
        watched.set_position(step.done);
    });
    let report = vault.verify(Some(&checkpoint))?;
    bar.finish_and_clear();
    Ok(report)
}

fn ask(place: &Path, arlen: &Patient, jan: &Patient) -> Outcome<()> {
    let vault = open(place)?;
    let officer = session(&vault, "privacy.officer", Purpose::Operations)?;
    let journal = officer
        .audit()?
        .resolve_subject(&arlen.subject)
        .resolve_subject(&jan.subject);

    told::chapter(&format!("Who has looked at the chart of {}?", arlen.name));
    told::accesses(&journal.accesses(&arlen.subject, ..)?);

    told::chapter("What has locum.okafor seen?");
    let journal = journal.resolve_record(&arlen.record(ALLERGIES)?);
    told::activity(&journal.activity(&Actor::new("locum.okafor")?, ..)?, arlen);

    told::chapter("Had the passphrase leaked too: what could be read with the stolen copy?");
    let slot = vault.slots()?.first().ok_or("no slot")?.id;
    told::exposure(&journal.exposure(&Exposed::Slot(slot), ..)?, &[arlen, jan]);
    Ok(())
}

fn erase(place: &Path, patient: &Patient) -> Outcome<()> {
    told::chapter(&format!("{} wants everything deleted", patient.name));
    let vault = open(place)?;
    let officer = session(&vault, "privacy.officer", Purpose::PatientRequest)?;
    let subject = &patient.subject;
    let hold = officer.place_hold(subject, "claim under review")?;
    outln!("The chart is on hold: claim under review.");
    match officer.erase_subject(subject, "the patient asked") {
        Err(refused) => outln!("The erasure is refused: {refused}."),
        Ok(_) => return Err("a hold did not stop an erasure".into()),
    }
    officer.lift_hold(subject, hold)?;
    let report = officer.erase_subject(subject, "the patient asked")?;
    outln!("The hold is released, and the chart erased.");
    told::erasure(&report);
    Ok(())
}
