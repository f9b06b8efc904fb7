//! Colours of the plots, for light and dark pages.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A colour for light pages and its counterpart for dark pages.
pub(super) struct Colour {
    light: RGBColor,
    dark: &'static str,
}

impl Colour {
    const fn new(light: RGBColor, dark: &'static str) -> Self {
        Self { light, dark }
    }

    pub(super) fn fill(&self) -> ShapeStyle {
        self.light.filled()
    }

    pub(super) fn line(&self, width: u32) -> ShapeStyle {
        self.light.stroke_width(width)
    }

    pub(super) fn rgb(&self) -> RGBColor {
        self.light
    }

    pub(super) fn text(&self, size: i32, side: HPos) -> TextStyle<'static> {
        ("sans-serif", size)
            .into_font()
            .color(&self.light)
            .pos(Pos::new(side, VPos::Center))
    }
}

pub(super) const PAGE: Colour = Colour::new(RGBColor(255, 255, 255), "#0D1117");
pub(super) const INK: Colour = Colour::new(RGBColor(31, 35, 40), "#E6EDF3");
pub(super) const FAINT: Colour = Colour::new(RGBColor(99, 108, 118), "#9198A1");
pub(super) const GRID: Colour = Colour::new(RGBColor(223, 227, 232), "#2A313A");
pub(super) const MET: Colour = Colour::new(RGBColor(9, 105, 218), "#58A6FF");
pub(super) const MISSED: Colour = Colour::new(RGBColor(207, 34, 46), "#FF7B72");
pub(super) const TARGET: Colour = Colour::new(RGBColor(154, 103, 0), "#E3B341");

/// The colours of lines, ordered so that successive colours are easy to distinguish.
pub(super) const LINES: [Colour; 8] = [
    Colour::new(RGBColor(9, 105, 219), "#58A6FE"),
    Colour::new(RGBColor(17, 99, 150), "#A5D6FF"),
    Colour::new(RGBColor(207, 34, 47), "#FF7B71"),
    Colour::new(RGBColor(26, 127, 55), "#56D364"),
    Colour::new(RGBColor(130, 80, 223), "#BC8CFF"),
    Colour::new(RGBColor(154, 103, 1), "#E3B342"),
    Colour::new(RGBColor(191, 57, 137), "#FF9BCE"),
    Colour::new(RGBColor(110, 119, 129), "#8B949E"),
];

/// Adds dark colours to a finished picture, as a style sheet that overrides attributes. If the
/// viewer states no preference, the light colours apply, with their own background.
pub(super) fn with_dark(picture: &str) -> String {
    let fixed = [PAGE, INK, FAINT, GRID, MET, MISSED, TARGET];
    let rules: String = fixed
        .iter()
        .chain(&LINES)
        .map(|Colour { light, dark }| {
            let RGBColor(r, g, b) = light;
            let light = format!("#{r:02X}{g:02X}{b:02X}");
            format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
        })
        .collect();
    let style = format!("<style>@media (prefers-color-scheme: dark){{{rules}}}</style>");
    match picture.find('>') {
        Some(end) => {
            let (head, rest) = picture.split_at(end + 1);
            format!("{head}\n{style}{rest}")
        }
        None => picture.to_owned(),
    }
}
