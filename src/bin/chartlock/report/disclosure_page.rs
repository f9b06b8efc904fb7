//! Page of the accounting of disclosures.

use chartlock::audit::{AccessKind, Disclosure, DisclosureReport};

use super::page::{Page, Row, Table, Timeline, time};

pub(super) fn page(report: &DisclosureReport) -> Page {
    let mut timeline = Timeline::default();
    for disclosure in &report.disclosures {
        timeline.add(disclosure.at, AccessKind::Disclosed, true);
    }
    let excluded = &report.excluded;
    let mut page = Page::new("Accounting of disclosures", report.subject.to_string())
        .scope(
            (report.made, report.between),
            report.authority,
            &report.unreadable,
        )
        .fact("rule", report.rule)
        .fact("disclosures", report.disclosures.len())
        .fact("left out: treatment", excluded.treatment)
        .fact("left out: payment", excluded.payment)
        .fact("left out: operations", excluded.operations)
        .warn_if(
            report.unnamed_records > 0,
            format!(
                "The names of {} records could not be read.",
                report.unnamed_records
            ),
        );
    page.timeline = timeline.days();
    page.tables.push(Table {
        heading: "Disclosures",
        columns: &[
            "Time (UTC)",
            "Recipient",
            "What was disclosed",
            "Record",
            "Purpose",
            "By",
        ],
        rows: report.disclosures.iter().map(row).collect(),
    });
    page.limits.clone_from(&report.not_decided);
    page
}

fn row(disclosure: &Disclosure) -> Row {
    let mut why = disclosure.why.clone();
    if let Some(consent) = &disclosure.consent {
        why.push_str(&format!(", consent {consent}"));
    }
    Row {
        cells: vec![
            time(disclosure.at),
            disclosure.recipient.clone(),
            disclosure.description.clone(),
            disclosure.record.clone().unwrap_or_default(),
            why,
            disclosure.actor.to_string(),
        ],
        is_marked: false,
    }
}
