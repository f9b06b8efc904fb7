//! Page of the access report.

use chartlock::audit::{Access, AccessDay, AccessReport, RetentionMark};

use super::page::{Page, Row, Table, Timeline, is_done, time};

pub(super) fn page(report: &AccessReport) -> Page {
    let mut timeline = Timeline::default();
    for access in &report.accesses {
        timeline.add(
            access.at,
            access.kind,
            is_done(access.outcome, access.certain),
        );
    }
    let emergency = report
        .accesses
        .iter()
        .filter(|access| access.under_break_glass)
        .count();
    let lists = report.lists_of_all_subjects;
    let mut page = Page::new(
        "Access report",
        format!("{} {}", report.kind, report.subject),
    )
    .scope(
        (report.made, report.between),
        report.authority,
        &report.unreadable,
    )
    .fact("accesses", report.accesses.len())
    .fact("under break-glass", emergency)
    .fact("times that all subjects were listed", lists)
    .warn_if(
        report.unnamed_records > 0,
        format!(
            "The names of {} records could not be read.",
            report.unnamed_records
        ),
    );
    page.timeline = timeline.days();
    page.tables = tables(report);
    page.limits.clone_from(&report.not_shown);
    page
}

/// Returns a summary by day and actor, and the list of all accesses.
fn tables(report: &AccessReport) -> Vec<Table> {
    let days = Table {
        heading: "Days and actors",
        columns: &[
            "Day",
            "Actor",
            "Reads",
            "Changes",
            "Disclosures",
            "Other",
            "Denied",
            "Failed",
        ],
        rows: report.days().iter().map(day_row).collect(),
    };
    let accesses = Table {
        heading: "Accesses",
        columns: &[
            "Time (UTC)",
            "Actor",
            "Operation",
            "Record",
            "Purpose",
            "Outcome",
        ],
        rows: report.accesses.iter().map(row).collect(),
    };
    vec![days, accesses]
}

fn day_row(day: &AccessDay) -> Row {
    let counts = [
        day.accessed,
        day.changed,
        day.disclosed,
        day.other,
        day.denied,
        day.failed,
    ];
    let names = [day.day.clone(), day.actor.to_string()];
    Row {
        cells: (names.into_iter())
            .chain(counts.map(|count| count.to_string()))
            .collect(),
        is_marked: day.denied + day.failed > 0 || day.under_break_glass,
    }
}

fn row(access: &Access) -> Row {
    let is_done = is_done(access.outcome, access.certain);
    let mut actor = access.actor.to_string();
    if let Some(organization) = &access.organization {
        actor.push_str(&format!(" for {organization}"));
    }
    let record = match (&access.record, access.version) {
        (Some(record), Some(version)) => format!("{record}, version {version}"),
        (Some(record), None) => record.clone(),
        (None, _) => String::new(),
    };
    let mut operation = access.what.clone();
    if let Some(RetentionMark::Until(until)) = access.retention {
        operation.push_str(&format!(" until {}", until.day()));
    }
    let mut outcome = access.outcome.to_string();
    if !access.certain {
        outcome.push_str(", not confirmed");
    }
    if access.under_break_glass {
        outcome.push_str(", break-glass");
    }
    Row {
        cells: vec![
            time(access.at),
            actor,
            operation,
            record,
            access.why.clone(),
            outcome,
        ],
        is_marked: !is_done || access.under_break_glass,
    }
}
