//! A day in a clinic: reads, a denied read, break-glass access, and an allergy list that an
//! attacker rolls back. The example ends with the reports that a privacy officer asks for.
//!
//! `cargo run --release --example incident`: two synthetic patients of tests/data, in a directory
//! that is removed at the end.

#[macro_use]
mod common;
#[path = "incident/disk.rs"]
mod disk;
#[path = "incident/report.rs"]
mod report;
#[path = "incident/sample.rs"]
mod sample;

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
A day in a clinic: reads, a denied read, break-glass access, a record that an attacker rolls back, and the
reports that a privacy officer asks for afterwards.

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

    let stolen = import_charts(&place, &[&arlen, &jan])?;
    let (checkpoint, backup) = work(&place, &arlen)?;
    tamper(&place, &stolen)?;
    find(&place, &arlen, &checkpoint)?;
    repair(&place, &backup, &checkpoint)?;
    ask(&place, &arlen, &jan)?;
    erase(&place, &jan)
}

/// Returns the clinic's access policy, which an app can take as a starting point.
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
        let who = event.actor().map_or("no actor", Actor::name);
        outln!("  >> security alert: {event} ({who})");
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

/// Stores the charts and returns the copy that an attacker makes of the disk that night.
fn import_charts(place: &Path, patients: &[&Patient]) -> Outcome<Disk> {
    report::chapter("Yesterday: two charts are imported");
    let vault = options()?.create(FileStorage::open(place)?, &key())?;
    let import = session(&vault, "import", Purpose::SystemAdministration)?;
    for patient in patients {
        let stored = patient.store(&import)?;
        outln!("import stores {stored} records of {}.", patient.name);
    }
    // Drop the session as well, because a session keeps its vault and the storage open.
    drop((import, vault));
    Disk::copy(place)
}

/// Simulates the day's accesses. Returns the evening's checkpoint, as text, and the evening's
/// backup.
fn work(place: &Path, arlen: &Patient) -> Outcome<(String, Disk)> {
    report::chapter("Today: reads, one of them denied");
    let vault = open(place)?;
    let garcia = session(&vault, "dr.garcia", Purpose::Treatment)?;
    report::allergies(&garcia, arlen)?;
    let list = arlen.allergy_list(true);
    let version = garcia.put(&arlen.record(ALLERGIES)?, fhir(&list).label("clinical"))?;
    outln!("dr.garcia adds the patient's allergies: version {version} of the list.");

    let lee = session(&vault, "desk.lee", Purpose::PatientAdministration)?;
    let (coverage, note) = (arlen.first("Coverage")?, arlen.first("DocumentReference")?);
    lee.get(&coverage)?.ok_or("there is no coverage")?;
    outln!("desk.lee reads the insurance coverage: the policy permits it.");
    let denied = lee
        .get(&note)
        .err()
        .ok_or("the policy did not deny a clinical note")?;
    outln!("desk.lee tries to read a clinical note: {denied}.");

    report::chapter("The emergency room: break-glass access");
    let locum = session(&vault, "locum.okafor", Purpose::EmergencyTreatment)?;
    let list = arlen.record(ALLERGIES)?;
    let denied = locum
        .get(&list)
        .err()
        .ok_or("the policy did not deny an unknown actor")?;
    outln!("locum.okafor tries to read the allergy list: {denied}.");
    let (why, half_an_hour) = ("unconscious, short of breath", Duration::from_secs(1800));
    let okafor = vault.break_glass(
        Actor::new("locum.okafor")?,
        list.subject(),
        why,
        half_an_hour,
    )?;
    report::allergies(&okafor, arlen)?;

    report::chapter("The evening: a checkpoint, to print on paper");
    let checkpoint = vault.checkpoint()?.to_string();
    outln!("{checkpoint}");
    // Drop the sessions as well, because a session keeps its vault and the storage open.
    drop((garcia, lee, locum, okafor, vault));
    Ok((checkpoint, Disk::copy(place)?))
}

fn tamper(place: &Path, stolen: &Disk) -> Outcome<()> {
    report::chapter("The night: an attacker with access to the disk but without a key");
    let records = stolen.write_back(place)?;
    outln!("Records replaced by their authentic bytes of yesterday: {records}.");
    Ok(())
}

fn find(place: &Path, arlen: &Patient, checkpoint: &str) -> Outcome<()> {
    report::chapter("The next morning: nothing looks wrong until the vault is verified");
    let vault = open(place)?;
    report::allergies(&session(&vault, "dr.garcia", Purpose::Treatment)?, arlen)?;
    let verified = verify(&vault, checkpoint)?;
    report::findings(&verified, arlen);
    match verified.is_clean() {
        true => Err("the verification did not find the rolled-back list".into()),
        false => Ok(()),
    }
}

fn repair(place: &Path, backup: &Disk, checkpoint: &str) -> Outcome<()> {
    report::chapter("The repair: restore the record from the evening's backup");
    backup.write_back(place)?;
    let vault = open(place)?;
    match verify(&vault, checkpoint)?.is_clean() {
        true => outln!("Verified again: no findings."),
        false => return Err("the verification still has findings after the repair".into()),
    }
    Ok(())
}

fn verify(vault: &Vault, checkpoint: &str) -> Outcome<chartlock::verify::VerifyReport> {
    let checkpoint: Checkpoint = checkpoint.parse()?;
    let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos}")?;
    let bar = ProgressBar::no_length().with_style(style);
    let shown = bar.clone();
    let vault = vault.with_progress(move |step: ProgressUpdate| {
        shown.set_message(step.phase.to_string());
        shown.set_position(step.done);
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

    report::chapter(&format!("Who accessed the chart of {}?", arlen.name));
    report::accesses(&journal.accesses(&arlen.subject, ..)?);

    report::chapter("What did locum.okafor access?");
    let journal = journal.resolve_record(&arlen.record(ALLERGIES)?);
    report::activity(&journal.activity(&Actor::new("locum.okafor")?, ..)?, arlen);

    report::chapter("If the passphrase had leaked too: what could be read in the stolen copy?");
    let slot = vault.slots()?.first().ok_or("no slot")?.id;
    report::exposure(&journal.exposure(&Exposed::Slot(slot), ..)?, &[arlen, jan]);
    Ok(())
}

fn erase(place: &Path, patient: &Patient) -> Outcome<()> {
    report::chapter(&format!("{} requests erasure", patient.name));
    let vault = open(place)?;
    let officer = session(&vault, "privacy.officer", Purpose::PatientRequest)?;
    let subject = &patient.subject;
    let hold = officer.place_hold(subject, "claim under review")?;
    outln!("A legal hold is placed: claim under review.");
    match officer.erase_subject(subject, "requested by the patient") {
        Err(refused) => outln!("The erasure is refused: {refused}."),
        Ok(_) => return Err("a hold did not prevent an erasure".into()),
    }
    officer.lift_hold(subject, hold)?;
    let report = officer.erase_subject(subject, "requested by the patient")?;
    outln!("The hold is lifted, and the chart is erased.");
    report::erasure(&report);
    Ok(())
}
