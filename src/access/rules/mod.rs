//! Rule policy: ordered rules; the first match decides, and no match denies.

mod matching;

use std::fmt;

use crate::access::request::AccessRequest;
use crate::access::{AccessPolicy, ConsentReference, Decision};
use crate::error::Result;
use crate::id::{Purpose, Subject, SubjectKind};
use crate::journal::{Operation, OperationGroup};
use matching::{Conditions, Match, Pattern};

/// One rule: conditions, and what is decided where all of them hold.
///
/// A rule without conditions holds for everything. Each method adds a value to the condition it is
/// named after, and any value of a condition will do: `.actor("dr.*").actor("nurse.*")` is for both.
///
/// Names of actors and records are given whole, or with a `*` at the end for all that begin so.
/// Conditions on subject or record do not hold for what is done without one.
///
/// # Rules about labels
///
/// Labels are known of puts and of reads only, so a rule about labels speaks of no other operation,
/// neither permitting nor denying it: whoever may list a subject's records sees their names and
/// labels, and rules about operations and names say who that is.
///
/// A read is asked for twice (see [`AccessPolicy`]). At first, without labels, a rule about labels
/// that permits is taken to hold, and one that denies not to; the second time both know. So such a
/// rule can deny in the second asking what was permitted in the first, and never permit what was
/// denied. A denial that needs no labels is better: no key is unwrapped before it.
///
/// ```
/// # use chartlock::{Purpose, access::Rule};
/// let rule = Rule::permit().actor("dr.*").purpose(Purpose::Treatment).reading().writing();
/// # let _ = rule;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Rule {
    outcome: Decision,
    conditions: Conditions,
}

impl Rule {
    /// Permits.
    pub fn permit() -> Self {
        Self::new(Decision::Permit)
    }

    /// Permits, and has the consent recorded.
    pub fn permit_under(consent: ConsentReference) -> Self {
        Self::new(Decision::PermitUnder(consent))
    }

    /// Denies.
    pub fn deny() -> Self {
        Self::new(Decision::Deny)
    }

    fn new(outcome: Decision) -> Self {
        Self {
            outcome,
            conditions: Conditions::default(),
        }
    }

    /// For the actor of this name, or those whose names begin so: `"dr.*"`.
    pub fn actor(mut self, pattern: &str) -> Self {
        self.conditions.actors.push(Pattern::new(pattern));
        self
    }

    /// For this purpose.
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.conditions.purposes.push(purpose);
        self
    }

    /// For this operation.
    pub fn operation(mut self, operation: Operation) -> Self {
        self.conditions.operations.push(operation);
        self
    }

    /// For reads and lists: [`OperationGroup::Reading`].
    pub fn reading(self) -> Self {
        self.group(OperationGroup::Reading)
    }

    /// For puts and removals: [`OperationGroup::Writing`].
    pub fn writing(self) -> Self {
        self.group(OperationGroup::Writing)
    }

    /// For deciding over patients, keys and the vault: [`OperationGroup::Governing`].
    pub fn governing(self) -> Self {
        self.group(OperationGroup::Governing)
    }

    /// For looking at journal, holds, slots and keys: [`OperationGroup::Auditing`].
    pub fn auditing(self) -> Self {
        self.group(OperationGroup::Auditing)
    }

    /// For a group of operations.
    pub fn group(mut self, group: OperationGroup) -> Self {
        self.conditions.groups.push(group);
        self
    }

    /// For subjects of this kind.
    pub fn subject_kind(mut self, kind: SubjectKind) -> Self {
        self.conditions.kinds.push(kind);
        self
    }

    /// For this subject.
    pub fn subject(mut self, subject: Subject) -> Self {
        self.conditions.subjects.push(subject);
        self
    }

    /// For records of this name, or whose names begin so: `"Appointment/*"`.
    pub fn record(mut self, pattern: &str) -> Self {
        self.conditions.records.push(Pattern::new(pattern));
        self
    }

    /// For puts and reads of records that have this label.
    pub fn label(mut self, label: &str) -> Self {
        self.conditions.labels.push(label.into());
        self
    }

    /// For puts and reads of records without this label. Of several, the record has none.
    pub fn without_label(mut self, label: &str) -> Self {
        self.conditions.without_labels.push(label.into());
        self
    }

    /// What this rule decides; `None` when it leaves the request to the next one.
    fn decide(&self, request: &AccessRequest<'_>) -> Option<Decision> {
        let holds = match self.conditions.hold(request) {
            Match::Yes => true,
            Match::No => false,
            // Asked again with labels: only what no labels would permit may be denied for good now.
            Match::DependsOnLabels => self.outcome.is_permitted(),
        };
        holds.then(|| self.outcome.clone())
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({:?}, ..)", self.outcome)
    }
}

/// Ordered rules: the first that matches decides, and where none does it is denied.
///
/// ```
/// use chartlock::{Actor, Operation, Purpose, Subject, SubjectKind, access::{AccessPolicy, AccessRequest, Decision, Rule, RulePolicy}};
///
/// let policy = RulePolicy::new([
///     // Nobody for marketing.
///     Rule::deny().purpose(Purpose::Marketing),
///     // Psychiatry has its own clinicians; to all others those records are closed.
///     Rule::permit().actor("psy.*").purpose(Purpose::Treatment).reading().writing(),
///     Rule::deny().label("psychiatry"),
///     // Clinicians treat.
///     Rule::permit()
///         .actor("dr.*")
///         .actor("nurse.*")
///         .purpose(Purpose::Treatment)
///         .purpose(Purpose::EmergencyTreatment)
///         .subject_kind(SubjectKind::Patient)
///         .reading()
///         .writing(),
///     // The front desk sees administration only, and cannot list what else there is.
///     Rule::permit()
///         .actor("desk.*")
///         .purpose(Purpose::PatientAdministration)
///         .label("administration"),
///     // Auditors read the journal and no record; the privacy officer also decides on erasures.
///     Rule::permit().actor("auditor.*").auditing(),
///     Rule::permit().actor("privacy.officer").auditing().governing(),
/// ])?;
///
/// let patient = Subject::patient("MRN-1042")?;
/// let doctor = Actor::new("dr.garcia")?;
/// let read = AccessRequest::new(&doctor, Purpose::Treatment, Operation::Read)
///     .subject(&patient)
///     .record("Observation/bp");
/// assert_eq!(policy.decide(&read), Decision::Permit); // before any key is unwrapped
/// assert_eq!(policy.decide(&read.labels(&["lab"])), Decision::Permit); // before content is released
/// assert_eq!(policy.decide(&read.labels(&["psychiatry"])), Decision::Deny);
///
/// let desk = Actor::new("desk.lee")?;
/// let list = AccessRequest::new(&desk, Purpose::PatientAdministration, Operation::List);
/// assert_eq!(policy.decide(&list.subject(&patient)), Decision::Deny);
/// # Ok::<(), chartlock::Error>(())
/// ```
#[derive(Clone)]
pub struct RulePolicy {
    rules: Box<[Rule]>,
}

impl RulePolicy {
    /// A policy of these rules, in this order. Without any, it denies everything.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) when a name is empty, too long, or has a control
    /// character or a `*` before its end, [`Error::InvalidMetadata`](crate::Error::InvalidMetadata)
    /// for such a label: no request can have those, so the rule would not do what it seems to.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self> {
        let rules: Box<[Rule]> = rules.into_iter().collect();
        for rule in &rules {
            rule.conditions.check()?;
        }
        Ok(Self { rules })
    }
}

impl AccessPolicy for RulePolicy {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let decided = self.rules.iter().find_map(|rule| rule.decide(request));
        decided.unwrap_or(Decision::Deny)
    }
}

impl fmt::Debug for RulePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RulePolicy({} rules)", self.rules.len())
    }
}
