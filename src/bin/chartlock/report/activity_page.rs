//! Page of the activity report.

use chartlock::audit::{AccessKind, ActivityReport, AuditEntry, SubjectActivity};

use super::page::{Page, Row, Table, Timeline, is_done, time};

pub(super) fn page(report: &ActivityReport) -> Page {
    let mut timeline = Timeline::default();
    for entry in &report.entries {
        let kind = AccessKind::of(entry.operation);
        timeline.add(entry.at, kind, is_done(entry.outcome, entry.settled));
    }
    let mut page = Page::new("Activity report", report.actor.to_string())
        .scope(
            (report.made, report.between),
            report.authority,
            &report.unreadable,
        )
        .fact("operations", report.entries.len())
        .fact("denied", report.denied)
        .fact("under break-glass", report.under_break_glass)
        .fact(
            "times that all subjects were listed",
            report.lists_of_all_subjects,
        )
        .fact("subjects", report.subjects.len());
    page.timeline = timeline.days();
    page.tables.push(Table {
        heading: "Subjects",
        columns: &[
            "Subject",
            "First",
            "Last",
            "Reads",
            "Changes",
            "Disclosures",
            "Other",
            "Not done",
        ],
        rows: report.subjects.iter().map(subject_row).collect(),
    });
    page.tables.push(Table {
        heading: "Operations",
        columns: &[
            "Time (UTC)",
            "Operation",
            "Subject",
            "Record",
            "Purpose",
            "Reason",
            "Outcome",
        ],
        rows: report.entries.iter().map(entry_row).collect(),
    });
    page.limits
        .push("the names of records: the report shows their tags");
    page.limits.push("operations under another actor's name");
    page.limits
        .push("reads from a copy of the storage, by a person who also copied the keys");
    page
}

fn subject_row(activity: &SubjectActivity) -> Row {
    Row {
        cells: vec![
            activity.subject.to_string(),
            time(activity.first),
            time(activity.last),
            activity.accessed.to_string(),
            activity.changed.to_string(),
            activity.disclosed.to_string(),
            activity.other.to_string(),
            activity.not_done.to_string(),
        ],
        is_marked: activity.not_done > 0,
    }
}

fn entry_row(entry: &AuditEntry) -> Row {
    let mut outcome = entry.outcome.to_string();
    if entry.under_break_glass {
        outcome.push_str(", break-glass");
    }
    let reason = entry.reason.as_deref().or(entry.note.as_deref());
    Row {
        cells: vec![
            time(entry.at),
            entry.operation.to_string(),
            entry
                .subject
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            entry
                .record
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            entry.purpose.to_string(),
            reason.unwrap_or_default().to_owned(),
            outcome,
        ],
        is_marked: !is_done(entry.outcome, entry.settled) || entry.under_break_glass,
    }
}
