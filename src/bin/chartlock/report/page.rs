//! Contents of a report, from which both the text and the HTML page are made.

use std::collections::BTreeMap;

use chartlock::access::AccessOutcome;
use chartlock::audit::{AccessKind, PageAuthority, TimeRange, Timestamp, UnreadableParts};

use super::super::visible::visible;

/// Contents of a report.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) title: &'static str,
    /// The subject, actor or key that the report is about.
    pub(crate) about: String,
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) warnings: Vec<String>,
    pub(crate) timeline: Vec<Day>,
    pub(crate) tables: Vec<Table>,
    pub(crate) limits: Vec<&'static str>,
    /// `false` if parts of the journal could not be read.
    pub(crate) is_whole: bool,
}

/// Number of entries of one day, by kind.
#[derive(Debug, Default, Clone)]
pub(crate) struct Day {
    pub(crate) day: String,
    pub(crate) counts: [u64; KINDS.len()],
}

/// Kinds of entries in the timeline. Their order is that of `Day::counts`, and of the classes in the style sheet.
pub(crate) const KINDS: [&str; 5] = ["read", "changed", "disclosed", "other", "not done"];

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) heading: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) cells: Vec<String>,
    /// `true` for an entry that a privacy officer looks at first: denied, failed, or under break-glass.
    pub(crate) is_marked: bool,
}

impl Page {
    pub(crate) fn new(title: &'static str, about: impl Into<String>) -> Self {
        Self {
            title,
            about: about.into(),
            is_whole: true,
            ..Self::default()
        }
    }

    pub(crate) fn fact(mut self, label: &'static str, value: impl ToString) -> Self {
        self.facts.push((label, value.to_string()));
        self
    }

    /// Adds the facts that every report has.
    pub(crate) fn scope(
        mut self,
        (made, between): (Timestamp, TimeRange),
        authority: PageAuthority,
        unreadable: &UnreadableParts,
    ) -> Self {
        self.facts.push(("created", time(made)));
        self.facts.push(("time range", range(between)));
        if authority == PageAuthority::NotChecked {
            let warning = "The writers of the journal pages were not verified, because the report was made \
                with an auditor's credential.";
            self.warnings.push(warning.to_owned());
        }
        if !unreadable.is_empty() {
            self.is_whole = false;
            let count = unreadable.count;
            self.warnings.push(format!(
                "{count} parts of the journal could not be read, so entries may be missing. Run `chartlock verify`."
            ));
        }
        self
    }

    pub(crate) fn warn_if(mut self, condition: bool, text: impl Into<String>) -> Self {
        if condition {
            self.warnings.push(text.into());
        }
        self
    }

    /// Returns the report as text for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.title, visible(&self.about))];
        lines.extend(
            (self.facts.iter()).map(|(label, value)| format!("  {label}: {}", visible(value))),
        );
        lines.extend(
            self.warnings
                .iter()
                .map(|text| format!("WARNING: {}", visible(text))),
        );
        if !self.timeline.is_empty() {
            lines.push("timeline".to_owned());
        }
        for day in &self.timeline {
            let counts = KINDS.iter().zip(day.counts).filter(|(_, count)| *count > 0);
            let counts: Vec<_> = counts
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            lines.push(format!("  {}: {}", day.day, counts.join(", ")));
        }
        for table in &self.tables {
            lines.push(format!("{} ({})", table.heading, table.rows.len()));
            for row in &table.rows {
                let mark = if row.is_marked { "!" } else { " " };
                let cells: Vec<_> = row.cells.iter().map(|cell| cell_text(cell)).collect();
                lines.push(format!("{mark} {}", cells.join(" | ")));
            }
        }
        if !self.limits.is_empty() {
            lines.push("This report does not show or decide:".to_owned());
            lines.extend(self.limits.iter().map(|limit| format!("  - {limit}")));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Returns the text of a cell, without the character that separates cells.
fn cell_text(cell: &str) -> String {
    visible(cell).replace('|', "\\u{7c}")
}

/// Counts entries by day.
#[derive(Debug, Default)]
pub(crate) struct Timeline(BTreeMap<String, Day>);

impl Timeline {
    pub(crate) fn add(&mut self, at: Timestamp, kind: AccessKind, is_done: bool) {
        let index = match kind {
            _ if !is_done => 4,
            AccessKind::Accessed => 0,
            AccessKind::Changed => 1,
            AccessKind::Disclosed => 2,
            _ => 3,
        };
        let day = self.0.entry(at.day()).or_default();
        day.day = at.day();
        if let Some(count) = day.counts.get_mut(index) {
            *count += 1;
        }
    }

    pub(crate) fn days(self) -> Vec<Day> {
        self.0.into_values().collect()
    }
}

/// Returns `true` for an outcome after which the operation was carried out.
pub(crate) fn is_done(outcome: AccessOutcome, is_certain: bool) -> bool {
    is_certain && matches!(outcome, AccessOutcome::Done | AccessOutcome::Absent)
}

/// Returns a time to the second, in UTC.
pub(crate) fn time(at: Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    seconds.replace('T', " ")
}

fn range(between: TimeRange) -> String {
    match (between.from, between.until) {
        (None, None) => "the whole journal".to_owned(),
        (Some(from), None) => format!("from {}", time(from)),
        (None, Some(until)) => format!("until {}", time(until)),
        (Some(from), Some(until)) => format!("from {} until {}", time(from), time(until)),
    }
}
