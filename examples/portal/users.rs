//! Demonstration login: a table of bearer tokens. A real service verifies tokens of an identity
//! provider (OpenID Connect, SMART on FHIR) here, and maps their claims to actor and purpose.

use chartlock::{Actor, Error, Purpose};

/// A user, and the purpose for which this demonstration lets the user act.
pub(crate) struct User {
    pub(crate) actor: Actor,
    pub(crate) purpose: Purpose,
    pub(crate) is_clinician: bool,
    pub(crate) is_administrator: bool,
}

/// Token, actor and purpose of each user, and flags for clinicians and administrators.
const USERS: [(&str, &str, Purpose, bool, bool); 7] = [
    ("demo-garcia", "dr.garcia", Purpose::Treatment, true, false),
    ("demo-kim", "nurse.kim", Purpose::Treatment, true, false),
    (
        "demo-okafor",
        "locum.okafor",
        Purpose::EmergencyTreatment,
        true,
        false,
    ),
    (
        "demo-lee",
        "desk.lee",
        Purpose::PatientAdministration,
        false,
        false,
    ),
    (
        "demo-haas",
        "research.haas",
        Purpose::Research,
        false,
        false,
    ),
    (
        "demo-officer",
        "privacy.officer",
        Purpose::Operations,
        false,
        false,
    ),
    (
        "demo-admin",
        "it.admin",
        Purpose::SystemAdministration,
        false,
        true,
    ),
];

/// Returns the user with a token; `None` for an unknown token.
pub(crate) fn find(token: &str) -> Result<Option<User>, Error> {
    let user = USERS.iter().find(|(known, ..)| *known == token);
    user.map(|(_, actor, purpose, is_clinician, is_administrator)| {
        Ok(User {
            actor: Actor::new(actor)?,
            purpose: *purpose,
            is_clinician: *is_clinician,
            is_administrator: *is_administrator,
        })
    })
    .transpose()
}
