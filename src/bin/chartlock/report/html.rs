//! Report as one HTML page: no script, no external resource, and every value escaped.

use super::super::visible::visible;
use super::page::{Day, KINDS, Page, Table};

/// Style sheet, for light and dark screens and for paper.
const STYLE: &str = include_str!("style.css");

/// Returns the page of a report, which `maker` created.
pub(super) fn render(page: &Page, maker: &str) -> String {
    let (title, about) = (escaped(page.title), escaped(&page.about));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}: {about}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"kind\">{title}</p>\n<h1>{about}</h1>\n</header>\n<main>\n"
    );
    for warning in &page.warnings {
        out.push_str(&format!(
            "<p class=\"warning\"><strong>Warning:</strong> {}</p>\n",
            escaped(warning)
        ));
    }
    out.push_str(&facts(page));
    out.push_str(&timeline(&page.timeline));
    for table in &page.tables {
        out.push_str(&section(table));
    }
    out.push_str(&limits(page));
    let maker = escaped(maker);
    out.push_str(&format!(
        "</main>\n<footer>\n<p>Created by {maker} with chartlock {}. All times in UTC. Contains personal data.</p>\n\
         <p class=\"signature\">Reviewed by: <span></span> Date: <span></span></p>\n</footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    ));
    out
}

fn facts(page: &Page) -> String {
    let facts = page.facts.iter().map(|(label, value)| {
        let value = escaped(value);
        format!("<div><dt>{}</dt><dd>{value}</dd></div>\n", escaped(label))
    });
    format!("<dl class=\"facts\">\n{}</dl>\n", facts.collect::<String>())
}

fn timeline(days: &[Day]) -> String {
    let Some(most) = days.iter().map(|day| day.counts.iter().sum::<u64>()).max() else {
        return String::new();
    };
    let legend: String = (KINDS.iter().enumerate())
        .map(|(index, kind)| format!("<li><span class=\"k{index}\"></span>{kind}</li>"))
        .collect();
    let days: String = days.iter().map(|day| day_line(day, most.max(1))).collect();
    format!(
        "<section>\n<h2>Timeline</h2>\n<ul class=\"legend\">{legend}</ul>\n<ol class=\"timeline\">\n{days}</ol>\n</section>\n"
    )
}

/// Returns the bar of a day. The widths are percentages of the day with the most entries.
fn day_line(day: &Day, most: u64) -> String {
    let (mut bars, mut words) = (String::new(), Vec::new());
    for (index, (kind, count)) in KINDS.iter().zip(day.counts).enumerate() {
        if count > 0 {
            let width = count.saturating_mul(1000) / most;
            let (whole, tenths) = (width / 10, width % 10);
            bars.push_str(&format!(
                "<span class=\"k{index}\" style=\"width:{whole}.{tenths}%\"></span>"
            ));
            words.push(format!("{count} {kind}"));
        }
    }
    let (name, words) = (escaped(&day.day), words.join(", "));
    format!(
        "<li><time datetime=\"{name}\">{name}</time><span class=\"bar\" aria-hidden=\"true\">{bars}</span>\
         <span class=\"count\">{words}</span></li>\n"
    )
}

fn section(table: &Table) -> String {
    let heading = escaped(table.heading);
    if table.rows.is_empty() {
        return format!("<section>\n<h2>{heading}</h2>\n<p>None.</p>\n</section>\n");
    }
    let columns = table
        .columns
        .iter()
        .map(|column| format!("<th scope=\"col\">{}</th>", escaped(column)));
    let columns: String = columns.collect();
    let rows: String = (table.rows.iter())
        .map(|row| {
            let cells = row
                .cells
                .iter()
                .map(|cell| format!("<td><bdi>{}</bdi></td>", escaped(cell)));
            let class = if row.is_marked {
                " class=\"marked\""
            } else {
                ""
            };
            format!("<tr{class}>{}</tr>\n", cells.collect::<String>())
        })
        .collect();
    let count = table.rows.len();
    format!(
        "<section>\n<h2>{heading} ({count})</h2>\n<div class=\"wide\"><table>\n<thead><tr>{columns}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n</section>\n"
    )
}

fn limits(page: &Page) -> String {
    let limits = page
        .limits
        .iter()
        .map(|limit| format!("<li>{}</li>\n", escaped(limit)));
    format!(
        "<section class=\"limits\">\n<h2>This report does not show or decide</h2>\n<ul>\n{}</ul>\n</section>\n",
        limits.collect::<String>()
    )
}

/// Returns the text with the characters of HTML escaped, and control characters made visible.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    out
}
