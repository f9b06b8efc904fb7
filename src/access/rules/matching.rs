//! Matching the conditions of one rule against a request.

use crate::access::request::AccessRequest;
use crate::error::{Error, Result};
use crate::id::{Actor, Purpose, Subject, SubjectKind, check_reason, is_record_name};
use crate::journal::Operation;
use crate::journal::OperationGroup;

/// Whether a rule holds for a request.
pub(super) enum Match {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It does with some labels, and those are still sealed.
    DependsOnLabels,
}

/// All conditions of a rule; an empty one holds for everything.
#[derive(Clone, Default)]
pub(super) struct Conditions {
    pub(super) actors: Vec<Pattern>,
    pub(super) purposes: Vec<Purpose>,
    pub(super) operations: Vec<Operation>,
    pub(super) groups: Vec<OperationGroup>,
    pub(super) kinds: Vec<SubjectKind>,
    pub(super) subjects: Vec<Subject>,
    pub(super) records: Vec<Pattern>,
    pub(super) labels: Vec<Box<str>>,
    pub(super) without_labels: Vec<Box<str>>,
}

impl Conditions {
    pub(super) fn hold(&self, request: &AccessRequest<'_>) -> Match {
        let purposes = &self.purposes;
        let others = any_of(&self.actors, request.actor.name())
            && (purposes.is_empty() || purposes.contains(&request.purpose))
            && self.holds_for_operation(request.operation)
            && self.holds_for_subject(request.subject)
            && (self.records.is_empty()
                || request.record.is_some_and(|r| any_of(&self.records, r)));
        match others {
            true => self.hold_for_labels(request),
            false => Match::No,
        }
    }

    fn holds_for_operation(&self, operation: Operation) -> bool {
        let any = self.operations.is_empty() && self.groups.is_empty();
        let group = OperationGroup::of(operation);
        any || self.operations.contains(&operation) || self.groups.contains(&group)
    }

    fn holds_for_subject(&self, subject: Option<&Subject>) -> bool {
        let any = self.kinds.is_empty() && self.subjects.is_empty();
        let named = subject.is_some_and(|subject| {
            self.kinds.contains(&subject.kind()) || self.subjects.contains(subject)
        });
        any || named
    }

    fn hold_for_labels(&self, request: &AccessRequest<'_>) -> Match {
        if self.labels.is_empty() && self.without_labels.is_empty() {
            return Match::Yes;
        }
        let Some(labels) = request.labels else {
            return match request.labels_follow() {
                true => Match::DependsOnLabels,
                false => Match::No,
            };
        };
        let one_of = |some: &[Box<str>]| some.iter().any(|label| labels.contains(&&**label));
        let wanted = self.labels.is_empty() || one_of(&self.labels);
        match wanted && !one_of(&self.without_labels) {
            true => Match::Yes,
            false => Match::No,
        }
    }

    /// Whether each value is one that a request can have.
    pub(super) fn check(&self) -> Result<()> {
        for actor in &self.actors {
            actor.check(|name| Actor::new(name).is_ok())?;
        }
        for record in &self.records {
            record.check(is_record_name)?;
        }
        let mut labels = self.labels.iter().chain(&self.without_labels);
        // A label has the bounds of a reason.
        labels.try_for_each(|label| check_reason(label))
    }
}

fn any_of(patterns: &[Pattern], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
}

/// A name, or how names begin.
#[derive(Clone)]
pub(super) struct Pattern {
    text: Box<str>,
    is_prefix: bool,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        let prefix = pattern.strip_suffix('*');
        Self {
            text: prefix.unwrap_or(pattern).into(),
            is_prefix: prefix.is_some(),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self.is_prefix {
            true => name.starts_with(&*self.text),
            false => *name == *self.text,
        }
    }

    /// A lone `*` is for all names.
    fn check(&self, is_name: impl Fn(&str) -> bool) -> Result<()> {
        let is_all = self.is_prefix && self.text.is_empty();
        let fits = is_all || (is_name(&self.text) && !self.text.contains('*'));
        fits.then_some(()).ok_or(Error::InvalidId)
    }
}
