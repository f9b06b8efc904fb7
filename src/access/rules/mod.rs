//! Rule-based access policy, in which the first matching rule decides. If no rule matches, the
//! request is denied.

mod matching;

use std::fmt;

use crate::access::request::AccessRequest;
use crate::access::{AccessPolicy, ConsentReference, Decision, Denial};
use crate::error::Result;
use crate::id::{Purpose, Subject, SubjectKind};
use crate::journal::{Operation, OperationGroup};
use matching::{Conditions, Match, Pattern};

/// A rule of a [`RulePolicy`]: conditions, and the decision that applies if all of them match.
///
/// A rule without conditions matches every request. Each method adds a value to the condition of
/// the same name. A condition matches if any of its values matches. For example,
/// `.actor("dr.*").actor("nurse.*")` matches doctors and nurses. `reading`, `writing`, `governing`,
/// `auditing` and `group` add to one condition.
///
/// All conditions must match. For example, `.subject_kind(SubjectKind::Patient).subject(own)`
/// matches this one patient, and `.reading().operation(Operation::Read)` matches reads, but no lists.
///
/// A pattern for actors or records is an exact name, or a prefix that ends with `*`. A condition on
/// subjects or records never matches an operation without a subject or record.
///
/// # Label rules
///
/// Only puts, retractions and reads have labels, so a label rule matches no other operation. In
/// particular, an actor who may list a subject's records receives the names and labels of all of
/// them. Restrict lists with rules on operations and record names.
///
/// The vault calls the policy several times for these operations (see [`AccessPolicy`]). The first
/// call of a read or a retraction has no labels. A permitting label rule then counts as a match, and
/// a denying label rule does not. In later calls, both kinds of rules are matched against the labels.
/// So a later call can deny a read that the first call permitted, but never the reverse. Prefer
/// denials that need no labels, because they take effect before any key is unwrapped.
///
/// ```
/// # use chartlock::{Purpose, access::Rule};
/// let rule = Rule::permit().actor("dr.*").purpose(Purpose::Treatment).reading().writing();
/// # let _ = rule;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Rule {
    decision: Decision,
    conditions: Conditions,
}

impl Rule {
    /// Creates a rule that permits the requests that it matches.
    pub fn permit() -> Self {
        Self::new(Decision::Permit)
    }

    /// Creates a rule that permits the requests that it matches, under a consent that the journal
    /// records.
    pub fn permit_under(consent: ConsentReference) -> Self {
        Self::new(Decision::PermitUnder(consent))
    }

    /// Creates a rule that denies the requests that it matches.
    pub fn deny() -> Self {
        Self::new(Decision::Deny)
    }

    /// Creates a rule that denies the requests that it matches, with a reason for the operator or
    /// another answer.
    pub fn deny_with(denial: Denial) -> Self {
        Self::new(Decision::DenyWith(denial))
    }

    fn new(decision: Decision) -> Self {
        Self {
            decision,
            conditions: Conditions::default(),
        }
    }

    /// Restricts the rule to actors that match `pattern`: an exact name, or a prefix such as
    /// `"dr.*"`.
    pub fn actor(mut self, pattern: &str) -> Self {
        self.conditions.actors.push(Pattern::new(pattern));
        self
    }

    /// Restricts the rule to requests for this purpose.
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.conditions.purposes.push(purpose);
        self
    }

    /// Restricts the rule to requests for this operation.
    pub fn operation(mut self, operation: Operation) -> Self {
        self.conditions.operations.push(operation);
        self
    }

    /// Restricts the rule to reads and lists: [`OperationGroup::Reading`].
    pub fn reading(self) -> Self {
        self.group(OperationGroup::Reading)
    }

    /// Restricts the rule to puts and retractions: [`OperationGroup::Writing`].
    pub fn writing(self) -> Self {
        self.group(OperationGroup::Writing)
    }

    /// Restricts the rule to the administration of subjects, keys and the vault:
    /// [`OperationGroup::Governing`].
    pub fn governing(self) -> Self {
        self.group(OperationGroup::Governing)
    }

    /// Restricts the rule to reading the journal, holds, slots and keys:
    /// [`OperationGroup::Auditing`].
    pub fn auditing(self) -> Self {
        self.group(OperationGroup::Auditing)
    }

    /// Restricts the rule to a group of operations.
    pub fn group(mut self, group: OperationGroup) -> Self {
        self.conditions.groups.push(group);
        self
    }

    /// Restricts the rule to subjects of this kind.
    pub fn subject_kind(mut self, kind: SubjectKind) -> Self {
        self.conditions.kinds.push(kind);
        self
    }

    /// Restricts the rule to this subject.
    pub fn subject(mut self, subject: Subject) -> Self {
        self.conditions.subjects.push(subject);
        self
    }

    /// Restricts the rule to records that match `pattern`: an exact name, or a prefix such as
    /// `"Appointment/*"`.
    pub fn record(mut self, pattern: &str) -> Self {
        self.conditions.records.push(Pattern::new(pattern));
        self
    }

    /// Restricts the rule to puts, retractions and reads of records with this label.
    pub fn label(mut self, label: &str) -> Self {
        self.conditions.labels.push(label.into());
        self
    }

    /// Restricts the rule to puts, retractions and reads of records without this label. If called
    /// several times, the record must have none of the labels.
    pub fn without_label(mut self, label: &str) -> Self {
        self.conditions.without_labels.push(label.into());
        self
    }

    /// Returns the rule's decision; `None` if the rule does not match.
    fn decide(&self, request: &AccessRequest<'_>) -> Option<Decision> {
        let matches = match self.conditions.matches(request) {
            Match::Yes => true,
            Match::No => false,
            // Match only a permitting rule, because a second request with labels follows a
            // permission. A denial without labels would be final.
            Match::DependsOnLabels => self.decision.is_permitted(),
        };
        matches.then(|| self.decision.clone())
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({:?}, ..)", self.decision)
    }
}

/// A policy of ordered rules: the first matching rule decides. If no rule matches, the request is
/// denied.
///
/// ```
/// use chartlock::{Actor, Operation, Purpose, Subject, SubjectKind, access::{AccessPolicy, AccessRequest, Decision, Rule, RulePolicy}};
///
/// let policy = RulePolicy::new([
///     // No access for marketing.
///     Rule::deny().purpose(Purpose::Marketing),
///     // Only psychiatry clinicians access records with the label "psychiatry".
///     Rule::permit().actor("psy.*").purpose(Purpose::Treatment).reading().writing(),
///     Rule::deny().label("psychiatry"),
///     // Clinicians read and write patients' records for treatment.
///     Rule::permit()
///         .actor("dr.*")
///         .actor("nurse.*")
///         .purpose(Purpose::Treatment)
///         .purpose(Purpose::EmergencyTreatment)
///         .subject_kind(SubjectKind::Patient)
///         .reading()
///         .writing(),
///     // The front desk reads administrative records only, and cannot list records.
///     Rule::permit()
///         .actor("desk.*")
///         .purpose(Purpose::PatientAdministration)
///         .label("administration"),
///     // Auditors read the journal but no records; the privacy officer can also erase subjects.
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
    /// Creates a policy from rules in order. Without rules, the policy denies every request.
    ///
    /// Rejects values that can never match. These are patterns and labels that cannot occur in a
    /// request, operations outside all groups of the rule, and subjects of another kind than the
    /// rule's.
    ///
    /// # Errors
    /// [`Error::InvalidId`](crate::Error::InvalidId) if a pattern is empty, too long, or has a
    /// control character or a `*` before its end;
    /// [`Error::InvalidMetadata`](crate::Error::InvalidMetadata) if a label is empty, too long or
    /// has a control character, or if an operation or a subject contradicts the rule's groups or
    /// kinds.
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

    fn uses_labels(&self) -> bool {
        self.rules.iter().any(|rule| rule.conditions.use_labels())
    }
}

impl fmt::Debug for RulePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RulePolicy({} rules)", self.rules.len())
    }
}
