//! Page of the exposure report.

use chartlock::audit::{AccessKind, ExposedSubject, ExposureReport, ExposureScope, Timestamp};

use super::page::{Page, Row, Table, Timeline, time};

pub(super) fn page(report: &ExposureReport) -> Page {
    let scope = match report.scope {
        ExposureScope::AllSubjects => "all subjects",
        ExposureScope::OneSubject => "one subject",
        ExposureScope::JournalOnly => "the journal, and no record",
        ExposureScope::Nothing => "nothing",
        _ => "unknown to this release",
    };
    let mut timeline = Timeline::default();
    for opening in &report.openings {
        timeline.add(opening.at, AccessKind::Administered, true);
    }
    let lifetime = &report.key_lifetime;
    let mut page = Page::new("Exposure report", report.exposed.clone())
        .scope(
            (report.made, report.between),
            report.authority,
            &report.unreadable,
        )
        .fact("exposed", scope)
        .fact("existed since", known(lifetime.since))
        .fact(
            "existed until",
            lifetime
                .until
                .map_or("still exists, or unknown".to_owned(), time),
        )
        .fact("subjects", report.subjects.len())
        .fact("records", report.records)
        .fact("versions", report.versions)
        .fact("subjects erased before", report.erased_before)
        .fact(
            "subjects that the journal does not show",
            report.not_in_the_journal,
        );
    page.timeline = timeline.days();
    page.tables.push(Table {
        heading: "Openings with the slot",
        columns: &["Time (UTC)", "Actor"],
        rows: (report.openings.iter())
            .map(|opening| plain(vec![time(opening.at), opening.actor.to_string()]))
            .collect(),
    });
    page.tables.push(Table {
        heading: "Exposed subjects",
        columns: &[
            "Subject", "Since", "Erased", "Records", "Versions", "Expunged",
        ],
        rows: report.subjects.iter().map(subject_row).collect(),
    });
    page.limits.clone_from(&report.unknown);
    page
}

fn subject_row(exposed: &ExposedSubject) -> Row {
    plain(vec![
        exposed.subject.to_string(),
        known(exposed.since),
        exposed.erased.map_or_else(String::new, time),
        exposed.records.to_string(),
        exposed.versions.to_string(),
        exposed.expunged.to_string(),
    ])
}

fn known(at: Option<Timestamp>) -> String {
    at.map_or("unknown".to_owned(), time)
}

fn plain(cells: Vec<String>) -> Row {
    Row {
        cells,
        is_marked: false,
    }
}
