//! Scenarios with legal holds, and the check of the holds after an execution.

use chartlock::{Error, Vault};

use crate::common::session;
use crate::model::{Call, Model};
use crate::scenarios::Pair;
use crate::verbs::{Answer, Record, Verb, Verb::*, subject};

const X: Record = (0, 0);
const ONE: &[Verb] = &[Put(X)];

pub(crate) const HOLDS: &[Pair] = &[
    ("hold, erase", ONE, &[&[Hold(0)], &[Erase(0)]]),
    ("hold, hold", ONE, &[&[Hold(0)], &[Hold(0)]]),
    ("hold, put (next)", ONE, &[&[Hold(0)], &[Put(X)]]),
    (
        "hold, rotate subject",
        ONE,
        &[&[Hold(0)], &[RotateSubject(0)]],
    ),
    ("hold, rotate master", ONE, &[&[Hold(0)], &[RotateMaster]]),
    ("hold, reencrypt", ONE, &[&[Hold(0)], &[Reencrypt(0)]]),
];

pub(crate) const HOLD_TRIOS: &[Pair] = &[(
    "hold, erase, rotate master",
    ONE,
    &[&[Hold(0)], &[Erase(0)], &[RotateMaster]],
)];

impl Model<'_> {
    fn holds(&self, patient: u8) -> impl Iterator<Item = &Call> {
        (self.calls.iter()).filter(move |call| call.verb == Hold(patient))
    }

    /// Returns `true` if an erasure may have found a legal hold.
    pub(crate) fn may_have_found_hold(&self, erasure: &Call) -> bool {
        let Erase(patient) = erasure.verb else {
            return false;
        };
        (self.holds(patient)).any(|hold| hold.begun < erasure.ended)
    }

    /// Compares the stored legal holds with the results of the operations, none of which lifts a
    /// legal hold.
    pub(crate) fn check_holds(&self, vault: &Vault, violations: &mut Vec<String>) {
        for patient in [0, 1] {
            if self.holds(patient).next().is_none() {
                continue;
            }
            let count = |wanted: fn(&Call) -> bool| {
                let holds = self.holds(patient);
                holds.filter(|call| wanted(call)).count()
            };
            let must = count(|call| matches!(call.answer, Some(Answer::Done)));
            let may = must + count(|call| call.answer.is_none());
            let met = self.calls.iter().any(|call| {
                call.verb == Erase(patient)
                    && matches!(call.answer, Some(Answer::Failed(Error::OnHold)))
            });
            let stored = match session(vault).holds(&subject(patient)) {
                Ok(holds) => holds.len(),
                Err(Error::Erased) => 0,
                Err(error) => {
                    violations.push(format!("holds fail: {error:?}"));
                    continue;
                }
            };
            if !(must..=may).contains(&stored) || (met && stored == 0) {
                violations.push(format!(
                    "{stored} holds are stored, expected {must} to {may}"
                ));
            }
        }
    }
}
