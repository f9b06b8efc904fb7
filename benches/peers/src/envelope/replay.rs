//! The records of a clinic, in the sizes that they have.

use anyhow::Result;

use super::{CRATES, all, compare};
use crate::Run;
use crate::measure::{Quantity, Table};

const ROUNDS: usize = 15;
/// So many records stand for all.
const RECORDS: usize = 2000;

pub(super) fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    let contents = run.clinic.sample(run.rounds(RECORDS));
    let work = "seal + open a record";
    let rows = compare(work, &all()?, &contents, run.rounds(ROUNDS), |_, _| None)?;
    Ok(vec![Table {
        name: "clinic".to_owned(),
        title: "The envelope: the records of a clinic".to_owned(),
        intro: intro(run, &contents),
        crates: CRATES.map(str::to_owned).to_vec(),
        rows,
    }])
}

fn intro(run: &Run<'_>, contents: &[&[u8]]) -> String {
    let mut sizes: Vec<_> = contents.iter().map(|content| content.len()).collect();
    sizes.sort_unstable();
    let quantile = |at: usize| {
        let size = sizes.get((sizes.len() - 1) * at / 100);
        Quantity::Bytes(size.copied().unwrap_or_default() as f64)
    };
    format!(
        "Each side seals and opens the same {} records, taken evenly from {}: half of them are at most {} large, nine of \
         ten at most {}, the largest {}. The time is that of one record on average. What each side does stands above.",
        sizes.len(),
        run.clinic.says(),
        quantile(50),
        quantile(90),
        quantile(100),
    )
}
