//! Plots of the result tables, as SVG.

mod ratios;
mod sizes;
mod theme;

use anyhow::Result;
pub(crate) use sizes::size;

use super::Table;

/// Returns the plots of these tables: the file name, the description and the picture of each plot.
pub(super) fn all(tables: &[&Table]) -> Result<Vec<(&'static str, String, String)>> {
    let mut plots = Vec::new();
    if let Some(picture) = ratios::plot(tables)? {
        let says = "How many times as fast as each rival, with the targets";
        plots.push(("ratios.svg", says.to_owned(), picture));
    }
    if let Some(picture) = sizes::plot(tables)? {
        let says = "Bytes sealed and opened a second, by size";
        plots.push(("sizes.svg", says.to_owned(), picture));
    }
    Ok(plots)
}
