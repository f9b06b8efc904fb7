//! Dot plot of the ratios that have a target, on a logarithmic scale.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::theme::{self, FAINT, GRID, INK, MET, MISSED, PAGE, TARGET};
use crate::measure::quantity::three_digits;
use crate::measure::{Row, Table, Target};

/// The width of the scale, in pixels.
const WIDTH: u32 = 400;
const LINE: u32 = 26;
/// The space above the first line for the scale's numbers, and below the last line for the legend,
/// in pixels.
const ABOVE: u32 = 40;
const BELOW: u32 = 44;
/// The width of the space for the ratios, right of the scale, in pixels.
const NUMBERS: u32 = 70;
const TEXT: i32 = 13;
/// An upper bound for the width of a letter, in pixels. The viewer chooses the font, so the exact
/// width is unknown.
const LETTER: usize = 6;
const MARGIN: i32 = 16;

/// Returns the plot, or `None` if no row has a target.
pub(super) fn plot(tables: &[&Table]) -> Result<Option<String>> {
    let rows: Vec<_> = tables
        .iter()
        .flat_map(|table| &table.rows)
        .filter_map(|row| match row.target {
            Some(Target::AtLeast(target)) => Some((row, target)),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let mut picture = String::new();
    draw(&mut picture, &rows)?;
    Ok(Some(theme::with_dark(&picture)))
}

fn draw(picture: &mut String, rows: &[(&Row, f64)]) -> Result<()> {
    let height = ABOVE + LINE * rows.len() as u32 + BELOW;
    let scale = Scale::over(rows);
    let width = scale.left as u32 + WIDTH + NUMBERS;
    let area = SVGBackend::with_string(picture, (width, height)).into_drawing_area();
    area.fill(&PAGE.rgb())?;
    let bottom = (height - BELOW) as i32;
    for (mark, text) in scale.marks() {
        let style = if mark == 1.0 {
            INK.line(1)
        } else {
            GRID.line(1)
        };
        let x = scale.x(mark);
        area.draw(&PathElement::new(
            [(x, ABOVE as i32 - 8), (x, bottom)],
            style,
        ))?;
        area.draw_text(
            &text,
            &FAINT.text(TEXT, HPos::Center),
            (x, ABOVE as i32 - 18),
        )?;
    }
    for ((row, target), line) in rows.iter().zip(0..) {
        let y = ABOVE as i32 + LINE as i32 * line + LINE as i32 / 2;
        let at = (scale.left - MARGIN, y);
        area.draw_text(&label(row), &INK.text(TEXT, HPos::Right), at)?;
        let colour = if row.met == Some(false) { MISSED } else { MET };
        let x = |ratio| scale.x(ratio);
        let spread = [(x(row.ratio.lower), y), (x(row.ratio.upper), y)];
        area.draw(&PathElement::new(spread, colour.line(3)))?;
        let mark = [(x(*target), y - 9), (x(*target), y + 9)];
        area.draw(&PathElement::new(mark, TARGET.line(3)))?;
        area.draw(&Circle::new((x(row.ratio.median), y), 5, colour.fill()))?;
        let number = three_digits(row.ratio.median);
        let at = (width as i32 - 10, y);
        area.draw_text(&number, &colour.text(TEXT, HPos::Right), at)?;
    }
    legend(&area, scale.left, height as i32 - 18)?;
    area.present()?;
    Ok(())
}

fn legend(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    left: i32,
    y: i32,
) -> Result<()> {
    let text = FAINT.text(TEXT, HPos::Left);
    let entries = [
        (left + 12, MET, "target met"),
        (left + 122, MISSED, "missed"),
    ];
    for (x, colour, says) in entries {
        area.draw(&Circle::new((x, y), 5, colour.fill()))?;
        area.draw_text(says, &text, (x + 12, y))?;
    }
    let x = left + 212;
    area.draw(&PathElement::new([(x, y - 9), (x, y + 9)], TARGET.line(3)))?;
    area.draw_text("target, at least", &text, (x + 10, y))?;
    let says = "rival's time / ours, log scale; right is faster";
    area.draw_text(says, &FAINT.text(TEXT, HPos::Right), (left - MARGIN, y))?;
    Ok(())
}

fn label(row: &Row) -> String {
    format!("{}: {} against {}", row.work, row.ours.name, row.rival.name)
}

/// Map from ratios to horizontal positions in the plot.
struct Scale {
    low: f64,
    high: f64,
    /// The left end of the scale.
    left: i32,
}

impl Scale {
    fn over(rows: &[(&Row, f64)]) -> Self {
        let values = rows
            .iter()
            .flat_map(|(row, target)| [row.ratio.lower, row.ratio.upper, *target, 1.0])
            .filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = values.fold((1.0_f64, 2.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let longest = rows.iter().map(|(row, _)| label(row).chars().count()).max();
        Self {
            low: low / 1.25,
            high: high * 1.25,
            left: (longest.unwrap_or_default() * LETTER) as i32 + 2 * MARGIN,
        }
    }

    fn x(&self, ratio: f64) -> i32 {
        let share = (ratio / self.low).ln() / (self.high / self.low).ln();
        self.left + (share.clamp(0.0, 1.0) * f64::from(WIDTH)).round() as i32
    }

    /// Returns the marks of the scale: the powers of ten and, if the space allows, 2 and 5 times
    /// these powers.
    fn marks(&self) -> Vec<(f64, String)> {
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades < 2.5 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        (-4..7)
            .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
            .filter(|mark| (self.low..=self.high).contains(mark))
            .map(|mark| (mark, format!("{mark}")))
            .collect()
    }
}
