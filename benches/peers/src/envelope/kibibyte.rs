//! One record of 1 KiB: what every record costs.

use anyhow::Result;

use super::{CRATES, INTRO, all, compare};
use crate::Run;
use crate::measure::Table;

const ROUNDS: usize = 45;
const SIZE: usize = 1024;

pub(super) fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    let content = [7; SIZE];
    let work = "seal + open 1 KiB";
    let rows = compare(work, &all()?, &[&content], run.rounds(ROUNDS), target)?;
    Ok(vec![Table {
        name: "envelope".to_owned(),
        title: "The envelope: one record of 1 KiB".to_owned(),
        intro: INTRO.to_owned(),
        crates: CRATES.map(str::to_owned).to_vec(),
        rows,
    }])
}

fn target(_ours: &str, _rival: &str) -> Option<f64> {
    None
}
