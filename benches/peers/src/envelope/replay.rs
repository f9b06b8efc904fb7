//! Measurement of a clinic's records, with their real sizes.

use anyhow::Result;

use super::{CRATES, compare, rivals};
use crate::Run;
use crate::measure::{Quantity, Table};
use crate::second::Work;

const ROUNDS: usize = 9;
/// The number of records to measure, spread evenly over the clinic's records.
const RECORDS: usize = 1000;

pub(super) fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    let work = Work::Records(run.rounds(RECORDS));
    let says = "seal + open a record";
    Ok(vec![Table {
        name: "clinic".to_owned(),
        title: "The envelope: the records of a clinic".to_owned(),
        intro: intro(run, &work),
        crates: CRATES.map(str::to_owned).to_vec(),
        rows: compare(run, says, &work, &rivals()?, ROUNDS, |_, _| None)?,
    }])
}

fn intro(run: &Run<'_>, work: &Work) -> String {
    let contents = work.contents(run.clinic);
    let mut sizes: Vec<_> = contents.iter().map(|content| content.len()).collect();
    sizes.sort_unstable();
    let at = |percent: usize| {
        let size = sizes.get(sizes.len().saturating_sub(1) * percent / 100);
        Quantity::Bytes(size.copied().unwrap_or_default() as f64)
    };
    format!(
        "Each side seals and opens the same {} records, taken evenly from {}: half of them are at most {} large, nine \
         of ten at most {}, the largest {}. The time is that of one record on average. The section above describes what each side does.",
        sizes.len(),
        run.clinic.says(),
        at(50),
        at(90),
        at(100),
    )
}
