//! Access policy of the clinic: rules by role, and research only with the patient's consent.

use std::sync::Arc;

use chartlock::access::{AccessPolicy, AccessRequest, Decision, Denial, Reason, Rule, RulePolicy};
use chartlock::{Error, Operation, Purpose, SubjectKind};

use crate::consents::{Consents, READER};
use crate::health::PROBE;
use crate::sample_charts::IMPORTER;

/// Label of resources that the front desk may read.
pub(crate) const ADMINISTRATION: &str = "administration";
/// Label of resources that only physicians may read.
pub(crate) const RESTRICTED: &str = "restricted";

/// The policy. Each vault of the service has one.
#[derive(Debug)]
pub(crate) struct ClinicPolicy {
    rules: RulePolicy,
    consents: Arc<Consents>,
    no_consent: Denial,
}

impl ClinicPolicy {
    pub(crate) fn new(consents: Arc<Consents>) -> Result<Self, Error> {
        let no_consent = Denial::new().because(Reason::new("no research consent")?);
        Ok(Self {
            rules: rules()?,
            consents,
            no_consent: no_consent.as_absence(),
        })
    }

    /// Permits research to read the records of patients who consented, except restricted records.
    fn decide_research(&self, request: &AccessRequest<'_>) -> Decision {
        // No history, because a history has no labels: it would show that a restricted record exists. A
        // list has no labels either; `fhir_search` shows only the records that it could read.
        let is_reading = matches!(request.operation, Operation::Read | Operation::List);
        let is_restricted = (request.labels).is_some_and(|labels| labels.contains(&RESTRICTED));
        let consent = request.subject.and_then(|it| self.consents.of(it));
        match consent {
            Some(consent)
                if is_reading
                    && !is_restricted
                    && request.actor.name().starts_with("research.") =>
            {
                Decision::PermitUnder(consent)
            }
            _ => Decision::DenyWith(self.no_consent.clone()),
        }
    }
}

impl AccessPolicy for ClinicPolicy {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        match request.purpose {
            Purpose::Research => self.decide_research(request),
            _ => self.rules.decide(request),
        }
    }

    fn revision(&self) -> u64 {
        self.consents.revision()
    }
}

fn rules() -> Result<RulePolicy, Error> {
    RulePolicy::new([
        Rule::permit()
            .actor("dr.*")
            .purpose(Purpose::Treatment)
            .reading()
            .writing(),
        // Only physicians change consents.
        Rule::deny().actor("nurse.*").record("Consent/*").writing(),
        // Lists have no labels, so nurses see the names of restricted records, but no content.
        Rule::permit()
            .actor("nurse.*")
            .purpose(Purpose::Treatment)
            .subject_kind(SubjectKind::Patient)
            .operation(Operation::List)
            .operation(Operation::History),
        Rule::permit()
            .actor("nurse.*")
            .purpose(Purpose::Treatment)
            .subject_kind(SubjectKind::Patient)
            .without_label(RESTRICTED)
            .reading()
            .writing(),
        Rule::permit()
            .actor("desk.*")
            .purpose(Purpose::PatientAdministration)
            .label(ADMINISTRATION),
        Rule::permit()
            .actor("privacy.officer")
            .governing()
            .auditing(),
        // The service itself.
        Rule::permit().actor(READER).record("Consent/*").reading(),
        Rule::permit()
            .actor(PROBE)
            .subject_kind(SubjectKind::Organization)
            .reading(),
        Rule::permit()
            .actor(IMPORTER)
            .operation(Operation::Put)
            .operation(Operation::ListSubjects),
    ])
}
