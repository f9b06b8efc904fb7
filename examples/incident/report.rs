//! Output of the example: the reports that a privacy officer reads.

use chartlock::audit::{AccessReport, ActivityReport, ExposureReport, Timestamp};
use chartlock::{
    Session,
    access::AccessOutcome,
    report::ErasureReport,
    verify::{FindingKind, RecordFinding, VerifyReport},
};
use serde_json::Value;

use crate::sample::{ALLERGIES, Patient};

pub(crate) fn chapter(title: &str) {
    outln!("\n{title}\n{}", "-".repeat(title.chars().count()));
}

pub(crate) fn allergies(session: &Session, patient: &Patient) -> crate::Outcome<()> {
    let list = session.get(&patient.record(ALLERGIES)?)?;
    let list: Value = serde_json::from_slice(&list.ok_or("there is no allergy list")?)?;
    let entries = list.get("entry").and_then(Value::as_array);
    let display = "/resource/code/coding/0/display";
    let substances: Vec<_> = (entries.into_iter().flatten())
        .filter_map(|entry| entry.pointer(display)?.as_str())
        .collect();
    let list = match substances.is_empty() {
        true => "no known allergies".to_owned(),
        false => substances.join(", "),
    };
    let actor = session.actor().name();
    outln!(
        "{actor} reads the allergy list of {}: {list}.",
        patient.name
    );
    Ok(())
}

pub(crate) fn findings(report: &VerifyReport, patient: &Patient) {
    for finding in &report.records {
        let name = finding.name.as_deref().unwrap_or("a record");
        let whose = match finding.subject.as_ref() == Some(&patient.subject) {
            true => patient.name.as_str(),
            false => "another patient",
        };
        outln!("FOUND: {name} of {whose} {}.", describe(finding));
    }
    let others = report.entries.len() + report.journal.len();
    if others == 0 && report.header.is_none() {
        outln!("No other findings: header, patient entries and journal are unchanged.");
    }
}

fn describe(finding: &RecordFinding) -> String {
    match (finding.kind, finding.stored) {
        (FindingKind::RolledBack, Some(stored)) => format!(
            "was rolled back: version {stored} is stored where version {} was written",
            finding.version
        ),
        (kind, _) => format!("differs from what was written ({kind:?})"),
    }
}

pub(crate) fn accesses(report: &AccessReport) {
    for day in report.days() {
        let counts = [
            ("accessed", day.accessed),
            ("changed", day.changed),
            ("denied", day.denied),
            ("other operations", day.other),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(kind, count)| format!("{kind}: {count}"))
            .collect();
        let (actor, mark) = (&day.actor, break_glass(day.under_break_glass));
        outln!("{} {actor:16} {}{mark}", day.day, counts.join(", "));
    }
    outln!("Details, without the import and the privacy officer:");
    let shown = report.accesses.iter().filter(|access| {
        let left_out = ["import", "privacy.officer"];
        !left_out.contains(&&*access.actor)
    });
    for access in shown {
        let record = access.record.as_deref().unwrap_or_default();
        outln!(
            "  {} {:13} {} {record}, for {}{}{}",
            time_of_day(access.at),
            access.actor,
            access.what,
            access.why,
            ending(access.outcome),
            break_glass(access.under_break_glass),
        );
    }
    print_completeness(report.unreadable.is_empty());
}

pub(crate) fn activity(report: &ActivityReport, patient: &Patient) {
    for entry in &report.entries {
        let record =
            (entry.record.as_ref()).map_or_else(String::new, |record| format!(" {record}"));
        let whose = entry.subject.as_ref().map_or("", |_| patient.name.as_str());
        let text = entry.reason.as_deref().or(entry.note.as_deref());
        let note = text.map_or_else(String::new, |text| format!(" \"{text}\""));
        outln!(
            "  {} {}{record} {whose}{note}{}{}",
            time_of_day(entry.at),
            entry.operation,
            ending(entry.outcome),
            break_glass(entry.under_break_glass),
        );
    }
    print_completeness(report.unreadable.is_empty());
}

pub(crate) fn exposure(report: &ExposureReport, patients: &[&Patient]) {
    outln!("Readable with {}:", report.exposed);
    for exposed in &report.subjects {
        let identifier = exposed.subject.identifier.as_deref();
        let patient = patients
            .iter()
            .find(|patient| Some(patient.subject.identifier()) == identifier);
        let name = patient.map_or("an unknown subject", |patient| &patient.name);
        let (records, versions) = (exposed.records, exposed.versions);
        outln!("  {name}: {records} records in {versions} versions");
    }
    outln!(
        "Openings of the vault with this credential: {}.",
        report.openings.len()
    );
    outln!("What this report cannot determine:");
    for unknown in &report.unknown {
        outln!("  - {unknown}");
    }
    print_completeness(report.unreadable.is_empty());
}

pub(crate) fn erasure(report: &ErasureReport) {
    let (records, earlier) = (report.records, report.earlier_versions);
    outln!("The keys are destroyed. Deleted: {records} records and {earlier} earlier versions.");
    outln!("Copies that this erasure does not reach:");
    for place in &report.not_reached {
        outln!("  - {place}");
    }
}

fn print_completeness(is_complete: bool) {
    match is_complete {
        true => outln!("All of the journal was readable."),
        false => outln!("Parts of the journal were unreadable, so entries may be missing."),
    }
}

fn ending(outcome: AccessOutcome) -> String {
    match outcome {
        AccessOutcome::Done => String::new(),
        outcome => format!(": {outcome}"),
    }
}

fn break_glass(is_active: bool) -> &'static str {
    match is_active {
        true => " [break-glass]",
        false => "",
    }
}

fn time_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..23).unwrap_or(&text).to_owned()
}
