//! A storage writer without keys: deletes, alters, exchanges, plants and puts back objects.

use std::collections::{BTreeMap, BTreeSet};

use chartlock::verify::VerifyReport;

use crate::common::Stage;
use crate::exceptions::{EXCEPTIONS, beyond};
use crate::fixture::Fixture;
use crate::judge::{Gain, judge};
use crate::moves::{self, Class, Kind, Move};

everywhere!(every_move_is_found_or_documented);

/// Tests whether a report names the object that a move changed.
fn is_named(made: &Move, report: &VerifyReport) -> bool {
    let Some(key) = &made.key else {
        return true;
    };
    let records = || {
        report
            .records
            .iter()
            .chain(&report.unattested)
            .chain(&report.leftovers)
    };
    match key[0] {
        b'v' => report.header.is_some(),
        b'p' => !report.entries.is_empty() || !report.unattested_entries.is_empty(),
        b'r' | b'h' => records().any(|found| found.record[..] == key[17..33]),
        b's' => records().any(|found| found.chart[..] == key[1..17]),
        b'j' => report
            .journal
            .iter()
            .any(|found| found.writer.is_some_and(|writer| writer == key[1..17])),
        _ => false,
    }
}

fn every_move_is_found_or_documented(stage: &Stage) {
    let fixture = Fixture::new(stage);
    let moves = moves::all(&fixture);
    let mut used = BTreeSet::new();
    let mut undocumented = BTreeMap::<(Class, Kind), Vec<String>>::new();
    let stride = crate::stride(stage);
    for made in moves.iter().step_by(stride) {
        let verdict = judge(stage, &fixture, &made.after, made);
        let mut gain = verdict.gain;
        let report = verdict.without.filter(|report| !report.is_clean());
        gain.unnamed = report.is_some_and(|report| !is_named(made, &report));
        let (rest, needed) = beyond(made.class, made.kind, gain);
        used.extend(needed);
        if rest != Gain::default() {
            let list = undocumented.entry((made.class, made.kind)).or_default();
            list.push(format!("{made}: {rest:?}"));
        }
    }
    println!("{} of {} moves", moves.len().div_ceil(stride), moves.len());
    assert!(undocumented.is_empty(), "{undocumented:#?}");
    let is_of_writer = |class| matches!(class, Class::Key(_) | Class::Upload | Class::Storage);
    if stride == 1 {
        let unused = (EXCEPTIONS.iter().enumerate())
            .filter(|(place, exception)| is_of_writer(exception.class) && !used.contains(place));
        let unused: Vec<_> = unused.map(|(_, exception)| exception.sentence).collect();
        assert!(unused.is_empty(), "no move needs {unused:#?}");
    }
}
