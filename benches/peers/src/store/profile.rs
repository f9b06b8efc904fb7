//! Profiles of chartlock's store workloads: shares of CPU time by owner of the running function.
//!
//! `perf` takes the samples, so it must be installed and have permission to observe this process.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio, id};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::load::Load;
use super::peers::Ours;
use super::works::{self, Patients};
use crate::Run;
use crate::measure::{Contender, Table};

/// The sampled time of each workload.
const TIME: Duration = Duration::from_secs(10);
/// The time in which `perf` must begin to sample.
const ATTACH: Duration = Duration::from_secs(1);
const RECORDS: usize = 60_000;

/// Owners of functions, by parts of the function's name. The first match applies.
const OWNERS: [(&str, &[&str]); 6] = [
    (
        "ciphers and hashes",
        &[
            "sha2",
            "aes::",
            "aes_gcm",
            "ghash",
            "polyval",
            "hkdf",
            "hmac",
            "ctr::",
            "chacha20",
            "cipher::",
            "hybrid_array",
        ],
    ),
    (
        "allocation",
        &["malloc", "free", "realloc", "unlink_chunk", "calloc"],
    ),
    (
        "copying and comparing",
        &["memmove", "memset", "memcmp", "memcpy"],
    ),
    (
        "chartlock, storage/file",
        &["chartlock::storage::file", "rusqlite"],
    ),
    ("chartlock, all other rooms", &["chartlock"]),
    (
        "Rust's libraries",
        &["core::", "alloc::", "std::", "hashbrown::"],
    ),
];

pub(super) fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    let directory = run.scratch.join("profile");
    fs::create_dir(&directory)?;
    let load = Load::resources(run.clinic, RECORDS)?;
    let mut columns = vec![profile_ingest(run, &directory)?];
    let mut ours = Ours::create(&directory.join("ours"))?;
    works::fill(&ours, &load, RECORDS)?;
    columns.push(profile(
        "get",
        &directory,
        works::gets(&ours, &load, RECORDS)?,
    )?);
    columns.push(profile(
        "chart of 300",
        &directory,
        works::charts(&ours, &load)?,
    )?);
    let next = Cell::new(0);
    for (name, patients) in [("put", Patients::Known), ("first put", Patients::New)] {
        next.set(0);
        let puts = works::puts(&ours, &load, (1, patients), &next)?;
        columns.push(profile(name, &directory, puts)?);
    }
    columns.push(profile("rotation", &directory, works::rotation(&mut ours))?);
    let page = page(&columns);
    println!("{page}");
    fs::write(run.results.join("profile.md"), page)?;
    fs::remove_dir_all(&directory)?;
    Ok(Vec::new())
}

/// A workload's name, and the share of each owner in percent.
type Column = (&'static str, BTreeMap<String, f64>);

/// Profiles the ingest of batches into an empty store.
fn profile_ingest(run: &Run<'_>, directory: &Path) -> Result<Column> {
    let load = Load::resources(run.clinic, 3_000_000)?;
    let ours = Ours::create(&directory.join("ingest"))?;
    profile("ingest", directory, works::ingest(&ours, &load)?)
}

/// Repeats a workload while `perf` samples this process.
fn profile(name: &'static str, directory: &Path, mut contender: Contender<'_>) -> Result<Column> {
    (contender.run)()?;
    let samples = directory.join(name).with_extension("samples");
    let mut perf = start(&samples)?;
    let end = Instant::now() + ATTACH + TIME;
    while Instant::now() < end {
        (contender.run)()?;
    }
    let interrupt = Command::new("kill")
        .args(["-INT", &perf.id().to_string()])
        .status()?;
    ensure!(interrupt.success(), "perf has ended");
    perf.wait()?;
    let report = Command::new("perf")
        .args([
            "report",
            "--no-children",
            "-g",
            "none",
            "--percent-limit",
            "0",
        ])
        .args(["--sort", "dso,symbol", "--field-separator", "\t", "-i"])
        .arg(&samples)
        .output()?;
    let report = String::from_utf8(report.stdout)?;
    Ok((name, shares(&report)))
}

fn start(samples: &Path) -> Result<Child> {
    let perf = Command::new("perf")
        .args([
            "record",
            "-q",
            "-g",
            "-e",
            "cpu-clock",
            "-F",
            "1999",
            "-p",
            &id().to_string(),
            "-o",
        ])
        .arg(samples)
        .stderr(Stdio::null())
        .spawn()
        .context("calling perf")?;
    thread::sleep(ATTACH / 2);
    Ok(perf)
}

/// Sums the shares in a report of `perf` by owner.
fn shares(report: &str) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    for line in report.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t').map(str::trim);
        let share = fields
            .next()
            .and_then(|it| it.trim_end_matches('%').parse::<f64>().ok());
        let (Some(share), Some(dso), Some(symbol)) = (share, fields.next(), fields.next()) else {
            continue;
        };
        *shares.entry(owner(dso, symbol).to_owned()).or_default() += share;
    }
    shares
}

fn owner(dso: &str, symbol: &str) -> &'static str {
    let is_in = |parts: &[&str]| parts.iter().any(|part| symbol.contains(part));
    match OWNERS.iter().find(|(_, parts)| is_in(parts)) {
        _ if symbol.starts_with("[k]") => "system",
        Some((owner, _)) => owner,
        None if dso.starts_with("libc") || symbol.contains("::") => "other",
        None => "SQLite",
    }
}

/// Formats the shares as a table, the largest owners first.
fn page(columns: &[Column]) -> String {
    let sum = |owner: &str| -> f64 {
        let shares = columns.iter().filter_map(|(_, shares)| shares.get(owner));
        shares.sum()
    };
    let owners = columns.iter().flat_map(|(_, shares)| shares.keys());
    let mut owners: Vec<&String> = owners.collect();
    owners.sort();
    owners.dedup();
    owners.sort_by(|a, b| sum(b).total_cmp(&sum(a)));
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let mut page = format!(
        "{HEAD}\n\n| CPU time in percent | {} |\n",
        names.join(" | ")
    );
    page.push_str(&format!("|---|{}\n", "---:|".repeat(names.len())));
    for owner in owners {
        let _ = write!(page, "| {owner} |");
        for (_, shares) in columns {
            let _ = write!(page, " {:.1} |", shares.get(owner).unwrap_or(&0.0));
        }
        page.push('\n');
    }
    page
}

const HEAD: &str = "\
# Profile of the store

Generated by `cargo run --release --manifest-path benches/peers/Cargo.toml -- --only profile`. The table
shows the shares of CPU time by owner of the running function, sampled for ten seconds of each workload of chartlock. A function
that the compiler inlined counts for its caller.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_their_owners() {
        let report = "# Overhead\n 40.00%\tpeers\t[.] sqlite3BtreeInsert\n 20.50%\t[kernel]\t[k] memset\n 9.50%\tpeers\t[.] sha2::compress\n";
        let found = shares(report);
        assert_eq!(found.get("SQLite"), Some(&40.0));
        assert_eq!(found.get("system"), Some(&20.5));
        assert_eq!(found.get("ciphers and hashes"), Some(&9.5));
    }
}
