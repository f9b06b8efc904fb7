//! What a privacy officer reads.

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
    let told = match substances.is_empty() {
        true => "no known allergies".to_owned(),
        false => substances.join(", "),
    };
    let actor = session.actor().name();
    outln!(
        "{actor} reads the allergy list of {}: {told}.",
        patient.name
    );
    Ok(())
}

pub(crate) fn findings(report: &VerifyReport, patient: &Patient) {
    for found in &report.records {
        let name = found.name.as_deref().unwrap_or("a record");
        let whose = match found.subject.as_ref() == Some(&patient.subject) {
            true => patient.name.as_str(),
            false => "somebody else",
        };
        outln!("FOUND: {name} of {whose} {}.", what(found));
    }
    let others = report.entries.len() + report.journal.len();
    if others == 0 && report.header.is_none() {
        outln!("Nothing else: header, patients' keys and journal are as they were written.");
    }
}

fn what(found: &RecordFinding) -> String {
    match (found.kind, found.standing) {
        (FindingKind::RolledBack, Some(standing)) => format!(
            "was put back: version {standing} stands where version {} was written",
            found.version
        ),
        (kind, _) => format!("is not as it was written ({kind:?})"),
    }
}

pub(crate) fn accesses(report: &AccessReport) {
    for day in report.days() {
        let counts = [
            ("looked", day.accessed),
            ("changed", day.changed),
            ("was denied", day.denied),
            ("asked the journal or renewed keys", day.other),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(did, count)| format!("{did}: {count}"))
            .collect();
        let (who, glass) = (&day.actor, glass(day.under_break_glass));
        outln!("{} {who:16} {}{glass}", day.day, counts.join(", "));
    }
    outln!("Of these, all but the filing and the questions:");
    let shown = report.accesses.iter().filter(|access| {
        let upkeep = ["import", "privacy.officer"];
        !upkeep.contains(&&*access.actor)
    });
    for access in shown {
        let record = access.record.as_deref().unwrap_or_default();
        outln!(
            "  {} {:13} {} {record}, for {}{}{}",
            hour(access.at),
            access.actor,
            access.what,
            access.why,
            ending(access.outcome),
            glass(access.under_break_glass),
        );
    }
    complete(report.unreadable.is_empty());
}

pub(crate) fn activity(report: &ActivityReport, patient: &Patient) {
    for entry in &report.entries {
        let record =
            (entry.record.as_ref()).map_or_else(String::new, |record| format!(" {record}"));
        let whose = entry.subject.as_ref().map_or("", |_| patient.name.as_str());
        let note = (entry.note.as_deref()).map_or_else(String::new, |note| format!(" \"{note}\""));
        outln!(
            "  {} {}{record} {whose}{note}{}{}",
            hour(entry.at),
            entry.operation,
            ending(entry.outcome),
            glass(entry.under_break_glass),
        );
    }
    complete(report.unreadable.is_empty());
}

pub(crate) fn exposure(report: &ExposureReport, patients: &[&Patient]) {
    outln!("With {}:", report.exposed);
    for one in &report.subjects {
        let identifier = one.subject.identifier.as_deref();
        let patient = patients
            .iter()
            .find(|patient| Some(patient.subject.identifier()) == identifier);
        let name = patient.map_or("somebody unknown", |patient| &patient.name);
        let (records, versions) = (one.records, one.versions);
        outln!("  {name}: {records} records in {versions} versions");
    }
    outln!(
        "It was used to open the vault {} times.",
        report.openings.len()
    );
    outln!("What this cannot know:");
    for unknown in &report.unknown {
        outln!("  - {unknown}");
    }
    complete(report.unreadable.is_empty());
}

pub(crate) fn erasure(report: &ErasureReport) {
    let (records, earlier) = (report.records, report.earlier_versions);
    outln!("Its keys are gone, and then {records} records and {earlier} earlier versions.");
    outln!("What no erasure reaches from here:");
    for place in &report.not_reached {
        outln!("  - {place}");
    }
}

fn complete(is_complete: bool) {
    match is_complete {
        true => outln!("The journal was read without a gap."),
        false => outln!("Parts of the journal could not be read: entries may be missing."),
    }
}

fn ending(outcome: AccessOutcome) -> String {
    match outcome {
        AccessOutcome::Done => String::new(),
        outcome => format!(": {outcome}"),
    }
}

fn glass(is_broken: bool) -> &'static str {
    match is_broken {
        true => " [broke the glass]",
        false => "",
    }
}

fn hour(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..23).unwrap_or(&text).to_owned()
}
