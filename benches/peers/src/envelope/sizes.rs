//! Measurements of contents from 64 B to 64 MiB.

use anyhow::Result;

use super::{CRATES, compare, rivals};
use crate::Run;
use crate::measure::{Table, size};
use crate::second::Work;

const ROUNDS: usize = 9;
/// The smallest and the largest size in bytes; each size is four times the previous size.
const SMALLEST: usize = 64;
const LARGEST: usize = 64 << 20;
/// The largest size in a quick run, in bytes.
const QUICK: usize = 4 << 20;

pub(super) fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    let largest = if run.quick { QUICK } else { LARGEST };
    let rivals = rivals()?;
    let mut rows = Vec::new();
    let sizes = std::iter::successors(Some(SMALLEST), |size| Some(size * 4));
    for bytes in sizes.take_while(|size| *size <= largest) {
        let (says, work) = (size(bytes as f64), Work::Bytes(bytes));
        let compared = compare(run, &says, &work, &rivals, ROUNDS, |_, _| None)?;
        rows.extend(compared.into_iter().map(|row| row.of_bytes(bytes as u64)));
    }
    Ok(vec![Table {
        name: "sizes".to_owned(),
        title: "The envelope by size".to_owned(),
        intro: INTRO.to_owned(),
        crates: CRATES.map(str::to_owned).to_vec(),
        rows,
    }])
}

const INTRO: &str = "\
Every side seals and opens in memory, on one thread. Above 64 KiB, chartlock writes a content stream under its own key: \
segments of 1 MiB with chunks of 64 KiB, each with its own tag. The first section describes what each side does.";
