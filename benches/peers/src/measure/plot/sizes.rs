//! Line plot of throughput by content size, with a line for each contender.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::theme::{self, FAINT, GRID, INK, LINES, PAGE};
use crate::measure::{Quantity, Side, Table};

/// The name of the table that this plot shows.
const TABLE: &str = "sizes";
const WIDTH: u32 = 940;
const HEIGHT: u32 = 460;
/// The width of the space for the contenders' names, right of the lines, in pixels.
const NAMES: i32 = 210;
const TEXT: i32 = 13;
/// The minimum vertical distance between two names, in pixels.
const SPACING: i32 = 17;

/// A line of the plot: the throughput of one contender, by content size.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Returns the plot, or `None` if the table is missing.
pub(super) fn plot(tables: &[&Table]) -> Result<Option<String>> {
    let Some(table) = tables.iter().find(|table| table.name == TABLE) else {
        return Ok(None);
    };
    let lines = lines(table);
    let mut picture = String::new();
    if lines.is_empty() {
        return Ok(None);
    }
    draw(&mut picture, &lines)?;
    Ok(Some(theme::with_dark(&picture)))
}

fn lines(table: &Table) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in &table.rows {
        for side in [&row.ours, &row.rival] {
            let Some((name, point)) = point(side, row.bytes) else {
                continue;
            };
            match lines.iter_mut().find(|line| line.name == name) {
                // Add chartlock's point only once, because the row of each rival repeats the point.
                Some(line) if line.points.last().is_some_and(|last| last.0 == point.0) => {}
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name: name.to_owned(),
                    points: vec![point],
                }),
            }
        }
    }
    lines
}

fn point(side: &Side, bytes: Option<u64>) -> Option<(&str, (f64, f64))> {
    let (Quantity::Seconds(time), Some(bytes)) = (side.measured, bytes) else {
        return None;
    };
    let mib = bytes as f64 / f64::from(1 << 20);
    Some((&side.name, (bytes as f64, mib / time)))
}

fn draw(picture: &mut String, lines: &[Line]) -> Result<()> {
    let area = SVGBackend::with_string(picture, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&PAGE.rgb())?;
    let (sizes, speeds) = (range(lines, |point| point.0), range(lines, |point| point.1));
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(NAMES)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (sizes.0..sizes.1 * 1.1).log_scale().base(4.0),
            (speeds.0 / 1.3..speeds.1 * 1.3).log_scale(),
        )?;
    chart
        .configure_mesh()
        .axis_style(FAINT.line(1))
        .bold_line_style(GRID.line(1))
        .light_line_style(GRID.line(0))
        .max_light_lines(0)
        .label_style(FAINT.text(TEXT, HPos::Center))
        .axis_desc_style(INK.text(TEXT, HPos::Center))
        .x_labels(12)
        .x_label_formatter(&|bytes| size(*bytes))
        .y_label_formatter(&|speed| format!("{speed}"))
        .y_desc("MiB sealed and opened a second")
        .draw()?;
    let mut names = Vec::new();
    for (line, colour) in lines.iter().zip(LINES.iter().cycle()) {
        let points = line.points.iter().copied();
        chart.draw_series(LineSeries::new(points.clone(), colour.line(2)))?;
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.fill())))?;
        if let Some(last) = line.points.last() {
            names.push((chart.backend_coord(last), colour, &line.name));
        }
    }
    spread(&mut names);
    for ((_, y), colour, name) in names {
        let x = WIDTH as i32 - NAMES - 2;
        area.draw_text(name, &colour.text(TEXT, HPos::Left), (x, y))?;
    }
    area.present()?;
    Ok(())
}

/// Moves the names down until no two names overlap.
fn spread<T>(names: &mut [((i32, i32), T, &String)]) {
    names.sort_by_key(|((_, y), ..)| *y);
    let mut free = i32::MIN;
    for ((_, y), ..) in names {
        *y = (*y).max(free);
        free = *y + SPACING;
    }
}

fn range(lines: &[Line], of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = lines.iter().flat_map(|line| &line.points).map(of);
    values.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| {
        (low.min(value), high.max(value))
    })
}

/// Formats a size in B, KiB or MiB, rounded to a whole number.
pub(crate) fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1024.0 => format!("{bytes:.0} B"),
        bytes if bytes < 1048576.0 => format!("{:.0} KiB", bytes / 1024.0),
        bytes => format!("{:.0} MiB", bytes / 1048576.0),
    }
}
