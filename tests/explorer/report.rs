//! One-line report of a scenario.

use std::fmt;
use std::io::Write;

use crate::scenario::{Outcome, Scenario, explore};
use crate::search::Figures;
use crate::state::{Faults, Stalls};

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            executions,
            pruned,
            depth,
            faulty,
            operations,
            complete,
        } = &self.figures;
        write!(
            f,
            "{executions:>8} {pruned:>8} {depth:>5} {faulty:>8} {:>4} {:>3} {:>6.1}s",
            operations.len(),
            if *complete { "all" } else { "cut" },
            self.took.as_secs_f64(),
        )
    }
}

/// Explores a scenario and prints its report.
///
/// The direct write to standard error bypasses the output capture of the test harness.
pub(crate) fn report(scenario: &Scenario) -> Outcome {
    let outcome = explore(scenario);
    let mode = if scenario.transactional { "tx" } else { "op" };
    let caches = if scenario.warm { "warm" } else { "cold" };
    let faults = match scenario.faults {
        Faults { most: 0, .. } => "-".to_owned(),
        Faults {
            most,
            crash,
            unknown,
            outage,
        } => format!(
            "{most}{}{}{}",
            if crash { "c" } else { "" },
            if unknown { "u" } else { "" },
            if outage { "o" } else { "" }
        ),
    };
    let stalls = match scenario.stalls {
        Stalls::Bounded => "bounded",
        Stalls::Endless => "endless",
    };
    let bound = scenario
        .bound
        .map_or("-".to_owned(), |bound| bound.to_string());
    let violation = if outcome.violation.is_some() {
        "VIOLATION"
    } else {
        "0"
    };
    let mut out = std::io::stderr().lock();
    let _ = writeln!(
        out,
        "{:<34} {mode} {caches} {faults:<3} {stalls:<7} {bound:<2} {outcome} {violation}",
        scenario.name
    );
    outcome
}
