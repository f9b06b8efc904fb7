//! Scenarios in which a restore from a backup is accepted beside other operations, and the checks of
//! these executions.
//!
//! A setup puts back all objects except the journal, so that the journal proves what the restore undid.

use chartlock::Vault;

use crate::common::{because, session};
use crate::final_state::FinalState;
use crate::model::{Call, Model};
use crate::scenario::SETUP;
use crate::scenarios::Pair;
use crate::verbs::{Answer, Record, Verb, Verb::*};

const X: Record = (0, 0);
const Y: Record = (0, 1);
const NEW: Record = (1, 0);
/// The restore undoes a version.
const UNDONE_PUT: &[Verb] = &[Put(X), TakeBackup, Put(X), RestoreBackup];
/// The restore undoes an erasure.
const UNDONE_ERASURE: &[Verb] = &[Put(X), TakeBackup, Erase(0), RestoreBackup];
const ACCEPT: &[Verb] = &[PlanRestore, AcceptRestore];

pub(crate) const RESTORES: &[Pair] = &[
    (
        "restore put: accept, put (other)",
        UNDONE_PUT,
        &[ACCEPT, &[Put(NEW)]],
    ),
    (
        "restore put: accept, delete record",
        UNDONE_PUT,
        &[ACCEPT, &[DeleteRecord]],
    ),
    (
        "restore erasure: accept, get",
        UNDONE_ERASURE,
        &[ACCEPT, &[Get(X)]],
    ),
    (
        "restore erasure: accept, put (next)",
        UNDONE_ERASURE,
        &[ACCEPT, &[Put(X)]],
    ),
    (
        "restore erasure: accept, put (new)",
        UNDONE_ERASURE,
        &[ACCEPT, &[Put(Y)]],
    ),
    (
        "restore erasure: accept, erase",
        UNDONE_ERASURE,
        &[ACCEPT, &[Erase(0)]],
    ),
    (
        "restore erasure: accept, accept",
        UNDONE_ERASURE,
        &[ACCEPT, ACCEPT],
    ),
    (
        "restore erasure: accept, rotate journal",
        UNDONE_ERASURE,
        &[ACCEPT, &[RotateJournal]],
    ),
];

/// The other process writes the version that the restore undid.
pub(crate) const RESTORE_AND_PUT: &[Pair] = &[(
    "restore put: accept, put (next)",
    UNDONE_PUT,
    &[ACCEPT, &[Put(X)]],
)];

impl Model<'_> {
    fn acceptances(&self) -> impl Iterator<Item = &Call> {
        (self.calls.iter()).filter(|call| call.verb == AcceptRestore)
    }

    /// Returns the plan that an acceptance uses.
    fn plan_of(&self, acceptance: &Call) -> Option<&Call> {
        let mut plans = self.calls.iter().filter(|call| {
            call.verb == PlanRestore
                && call.process == acceptance.process
                && call.index < acceptance.index
        });
        plans.next_back()
    }

    /// Returns `Some(true)` if an acceptance erased the patient of the setup again, and `Some(false)` if
    /// an acceptance without a result may have done so.
    pub(crate) fn is_erased_again(&self, patient: u8) -> Option<bool> {
        let of = |call: &Call| match call.answer {
            Some(Answer::Accepted { erased, .. }) => (erased > 0).then_some(true),
            _ => Some(false),
        };
        // Only patient 0 is erased in a setup.
        (patient == 0)
            .then(|| self.acceptances().filter_map(of).max())
            .flatten()
    }

    /// Returns `true` if an acceptance may destroy what this call wrote, because the call had not ended
    /// when the acceptance began.
    pub(crate) fn may_be_erased_again(&self, call: &Call) -> bool {
        let mut acceptances = self.acceptances();
        acceptances.any(|acceptance| {
            let is_destroyed =
                !matches!(acceptance.answer, Some(Answer::Accepted { erased: 0, .. }));
            is_destroyed
                && (call.process == SETUP
                    || call.ended >= acceptance.begun && call.begun <= acceptance.ended)
        })
    }

    /// Returns `true` if there is no plan for an acceptance, or if another process may have changed
    /// something since the plan began.
    pub(crate) fn has_change_since_plan(&self, acceptance: &Call) -> bool {
        let plan = self.plan_of(acceptance);
        let plan = plan.filter(|plan| matches!(plan.answer, Some(Answer::Done)));
        let Some(planned) = plan.map(|plan| plan.begun) else {
            return true;
        };
        // Without transactions, the page that settles a put can be written after the call ended.
        let is_page_after = |process: usize| {
            let mut applied = self.applied.iter();
            applied.any(|put| put.process == process && put.key[0] == b'j' && put.step > planned)
        };
        self.calls.iter().any(|call| {
            call.process != acceptance.process
                && !matches!(call.verb, Get(_) | PlanRestore)
                && (call.ended >= planned || is_page_after(call.process))
        })
    }

    /// Checks that no record was deleted between the plan of an acceptance and the acceptance.
    pub(crate) fn check_acceptance(&self, acceptance: &Call, violations: &mut Vec<String>) {
        let planned = (self.plan_of(acceptance)).map_or(0, |plan| plan.ended);
        let outdated = self.calls.iter().any(|call| {
            call.verb == DeleteRecord && call.begun > planned && call.ended < acceptance.begun
        });
        if outdated {
            violations.push("a plan from before a new finding is accepted".into());
        }
    }
}

impl FinalState<'_> {
    /// Returns `true` if the whole restore of the setup was accepted, or if there was none.
    pub(crate) fn is_accepted(&self) -> bool {
        let mut acceptances = self.model.acceptances();
        let is_whole =
            |call: &Call| matches!(call.answer, Some(Answer::Accepted { left_out: 0, .. }));
        !self.is_restored || acceptances.any(is_whole)
    }

    /// Returns `true` if an attacker deleted the record after an acceptance began.
    pub(crate) fn is_deleted_late(&self) -> bool {
        let deleted = self.record_deleted();
        deleted.is_some_and(|deleted| {
            (self.model.acceptances()).all(|acceptance| {
                let refused = matches!(acceptance.answer, Some(Answer::Failed(_)) | None);
                !refused && deleted >= acceptance.begun
            })
        })
    }

    /// Plans and accepts the restore again, as after a crash. Names all contested items, because an item
    /// that is left out stays a finding.
    pub(crate) fn accept_again(&self, vault: &Vault, violations: &mut Vec<String>) {
        if self.is_accepted() && !self.is_deleted_late() {
            return;
        }
        let session = session(vault);
        let accepted = session.plan_restore(None, None).and_then(|plan| {
            let items = plan.items.clone();
            let plan = (items.iter()).fold(plan, |plan, item| plan.with_contested(item));
            session.accept_restore(&plan, because("disk failure"))
        });
        if let Err(error) = accepted {
            violations.push(format!("the restore cannot be accepted: {error:?}"));
        }
    }
}
