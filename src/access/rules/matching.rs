//! Matching of a rule's conditions against a request.

use crate::access::request::AccessRequest;
use crate::error::{Error, InputFault, InputField, Result};
use crate::id::bounds::{check_actor_part, check_id_part, check_text};
use crate::id::{Purpose, Subject, SubjectKind};
use crate::journal::Operation;
use crate::journal::OperationGroup;

/// The result of matching a rule against a request.
pub(super) enum Match {
    Yes,
    No,
    /// The match depends on the record's labels, which are still sealed.
    DependsOnLabels,
}

/// All conditions of one rule. An empty condition matches every request.
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
    pub(super) fn matches(&self, request: &AccessRequest<'_>) -> Match {
        let purposes = &self.purposes;
        let all_but_labels = any_of(&self.actors, request.actor.name())
            && (purposes.is_empty() || purposes.contains(&request.purpose))
            && self.matches_operation(request.operation)
            && self.matches_subject(request.subject)
            && (self.records.is_empty()
                || request.record.is_some_and(|r| any_of(&self.records, r)));
        match all_but_labels {
            true => self.match_labels(request),
            false => Match::No,
        }
    }

    fn matches_operation(&self, operation: Operation) -> bool {
        (self.operations.is_empty() || self.operations.contains(&operation))
            && self.matches_group(operation)
    }

    fn matches_group(&self, operation: Operation) -> bool {
        self.groups.is_empty() || self.groups.contains(&OperationGroup::of(operation))
    }

    fn matches_subject(&self, subject: Option<&Subject>) -> bool {
        match subject {
            Some(subject) => {
                self.matches_kind(subject)
                    && (self.subjects.is_empty() || self.subjects.contains(subject))
            }
            None => self.kinds.is_empty() && self.subjects.is_empty(),
        }
    }

    fn matches_kind(&self, subject: &Subject) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&subject.kind())
    }

    /// Returns `true` if a match can depend on labels.
    pub(super) fn use_labels(&self) -> bool {
        !self.labels.is_empty() || !self.without_labels.is_empty()
    }

    fn match_labels(&self, request: &AccessRequest<'_>) -> Match {
        if !self.use_labels() {
            return Match::Yes;
        }
        let Some(labels) = request.labels else {
            return match request.labels_follow() {
                true => Match::DependsOnLabels,
                false => Match::No,
            };
        };
        let has_any = |list: &[Box<str>]| list.iter().any(|label| labels.contains(&&**label));
        let has_required = self.labels.is_empty() || has_any(&self.labels);
        match has_required && !has_any(&self.without_labels) {
            true => Match::Yes,
            false => Match::No,
        }
    }

    /// Checks that every value of the conditions can occur in a request.
    pub(super) fn check(&self) -> Result<()> {
        for actor in &self.actors {
            actor.check(InputField::ActorPattern, check_actor_part)?;
        }
        for record in &self.records {
            record.check(InputField::RecordPattern, check_id_part)?;
        }
        // An operation outside all groups, or a subject of another kind, can never match.
        let matches = self.operations.iter().all(|it| self.matches_group(*it))
            && self.subjects.iter().all(|it| self.matches_kind(it));
        if !matches {
            return Err(Error::invalid_metadata(
                InputField::Rule,
                InputFault::NeverMatches,
            ));
        }
        let mut labels = self.labels.iter().chain(&self.without_labels);
        labels.try_for_each(|label| check_text(label, InputField::Label))
    }
}

fn any_of(patterns: &[Pattern], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
}

/// A pattern that matches one exact name, or all names with a prefix.
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

    /// Checks that the pattern can match a name. A lone `*` matches all names.
    fn check(
        &self,
        field: InputField,
        check_part: impl Fn(&str, InputField) -> Result<()>,
    ) -> Result<()> {
        if self.is_prefix && self.text.is_empty() {
            return Ok(());
        }
        check_part(&self.text, field)?;
        match self.text.find('*') {
            Some(position) => Err(Error::invalid_id(
                field,
                InputFault::InnerAsterisk { position },
            )),
            None => Ok(()),
        }
    }
}
