//! Measurements of stores that keep records on disk.

mod again;
mod changes;
mod disk;
mod growth;
mod load;
mod peers;
mod processes;
mod profile;
mod reads;
mod slow_flushes;
mod upkeep;
mod versions;
mod works;

use anyhow::Result;

use self::changes::{Changes, Scope};
use crate::measure::{Row, Table};
use crate::{Part, Run};

pub(crate) const STORE: Part = Part {
    name: "store",
    is_long: false,
    run: tables,
};
pub(crate) const GROWTH: Part = Part {
    name: "growth",
    is_long: true,
    run: growth::tables,
};
pub(crate) const PROFILE: Part = Part {
    name: "profile",
    is_long: true,
    run: profile::tables,
};

/// The crates whose versions the tables list.
const CRATES: [&str; 5] = ["chartlock", "rusqlite", "fjall", "redb", "aes-gcm"];

const INTRO: &str = include_str!("store.md");
const SLOW: &str = include_str!("slow_flushes.md");
const ROTATION: &str = include_str!("rotation.md");
const DISK: &str = include_str!("disk.md");
const UPKEEP: &str = include_str!("upkeep.md");

/// Returns the number of records that the workloads use.
fn records(run: &Run<'_>) -> usize {
    if run.quick { 30_000 } else { 300_000 }
}

fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    if let Some(task) = processes::task()? {
        processes::run_task(run, &task)?;
        return Ok(Vec::new());
    }
    if let Some(rows) = slow_flushes::inner() {
        slow_flushes::run_inner(run, &rows)?;
        return Ok(Vec::new());
    }
    let mut reads = reads::measure(run)?;
    let mut disk = disk::of_clinic(run)?;
    let changes: Changes = changes::measure(run, Scope::All)?;
    let (slow, slow_rotation) = slow_flushes::measure(run)?;
    reads.extend(changes.store);
    reads.extend(versions::measure(run)?);
    reads.extend(processes::puts(run)?);
    disk.extend(changes.disk);
    let mut rotation = changes.rotation;
    rotation.extend(slower(slow_rotation));
    Ok(vec![
        table("store", "The store", INTRO, reads),
        table(
            "store-slow-sync",
            "The store, each flush 1 ms slower",
            SLOW,
            slower(slow),
        ),
        table("rotation", "Exchanging the key of all", ROTATION, rotation),
        table("disk", "Disk used", DISK, disk),
        table("upkeep", "Upkeep", UPKEEP, upkeep::measure(run)?),
    ])
}

/// Appends the flush delay to each row's label, because one plot shows the rows of several tables.
fn slower(rows: Vec<Row>) -> Vec<Row> {
    let says = |row: Row| Row {
        work: format!("{}, flushes 1 ms slower", row.work),
        ..row
    };
    rows.into_iter().map(says).collect()
}

fn table(name: &str, title: &str, intro: &str, rows: Vec<Row>) -> Table {
    Table {
        name: name.to_owned(),
        title: title.to_owned(),
        intro: intro.trim_end().to_owned(),
        crates: CRATES.map(str::to_owned).to_vec(),
        rows,
    }
}

/// Formats a number with commas, as in 300,000.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_by_commas() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(300_000), "300,000");
        assert_eq!(thousands(3_000_000), "3,000,000");
    }
}
