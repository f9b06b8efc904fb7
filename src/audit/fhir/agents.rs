//! Agents of a FHIR audit event: application, vault, user, organization.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::audit::disclosures::DisclosureNote;
use crate::audit::display;
use crate::audit::entry::AuditEntry;
use crate::audit::fhir::Application;
use crate::audit::fhir::codes::*;
use crate::audit::fhir::shape::BalpPattern;

/// The FHIR identifier system of journal chains, which are identified by writer id.
const WRITER: &str = "urn:x-chartlock:writer";
/// The FHIR extension that marks an unknown value.
const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// Returns all agents: the application, the vault, the user, and the organization if there is one.
pub(super) fn all(entry: &AuditEntry, pattern: BalpPattern, application: &Application) -> Value {
    let mut agents = match pattern {
        BalpPattern::Disclosure => vec![vault(entry, application, SOURCE_ROLE), recipient(entry)],
        _ => {
            let (client, server) = roles(pattern);
            vec![
                client_of(application, client),
                vault(entry, application, server),
            ]
        }
    };
    agents.push(user(entry, pattern, application));
    if let Some(organization) = &entry.organization {
        agents.push(json!({
            "type": PROVIDER.concept(),
            "who": { "display": organization },
            "requestor": false,
        }));
    }
    agents.into()
}

/// Returns the agent types of client and server for a BALP pattern.
fn roles(pattern: BalpPattern) -> (Code, Code) {
    match pattern {
        BalpPattern::Read => (DESTINATION, SOURCE_ROLE),
        BalpPattern::Delete => (APPLICATION, CUSTODIAN),
        BalpPattern::Create
        | BalpPattern::Update
        | BalpPattern::Query
        | BalpPattern::Disclosure => (SOURCE_ROLE, DESTINATION),
        BalpPattern::Plain => (APPLICATION, CUSTODIAN),
    }
}

fn client_of(application: &Application, kind: Code) -> Value {
    json!({
        "type": kind.concept(),
        "who": { "identifier": { "value": application.name } },
        "requestor": false,
        "network": network(application),
    })
}

fn vault(entry: &AuditEntry, application: &Application, kind: Code) -> Value {
    json!({
        "type": kind.concept(),
        "who": observer(entry),
        "requestor": false,
        "network": network(application),
    })
}

fn user(entry: &AuditEntry, pattern: BalpPattern, application: &Application) -> Value {
    let kind = match pattern {
        BalpPattern::Create | BalpPattern::Update | BalpPattern::Delete => Some(AUTHOR),
        BalpPattern::Read | BalpPattern::Query => Some(RECIPIENT),
        BalpPattern::Disclosure | BalpPattern::Plain => None,
    };
    let mut who = json!({ "value": entry.actor });
    if let (Some(system), Some(who)) = (&application.users, who.as_object_mut()) {
        who.insert("system".into(), (**system).into());
    }
    let mut user = json!({
        "who": { "identifier": who },
        "name": entry.actor,
        "requestor": true,
        "purposeOfUse": purposes(entry).collect::<Value>(),
    });
    if let (Some(kind), Some(user)) = (kind, user.as_object_mut()) {
        user.insert("type".into(), kind.concept());
    }
    user
}

/// Returns the recipient of a disclosure. The network is unknown, because the journal does not
/// record how the app disclosed the data.
fn recipient(entry: &AuditEntry) -> Value {
    let recipient = Some(DisclosureNote::of(entry).recipient).filter(|name| !name.is_empty());
    json!({
        "type": DESTINATION.concept(),
        "who": { "display": recipient.unwrap_or("not recorded") },
        "requestor": false,
        "network": { "extension": [{ "url": ABSENT, "valueCode": "unknown" }] },
    })
}

/// Returns the purpose of use, with break-glass as a second purpose if the session had break-glass
/// access.
pub(super) fn purposes(entry: &AuditEntry) -> impl Iterator<Item = Value> {
    const BREAK_THE_GLASS: &str = "BTG";
    let own = (!entry.purpose.is_empty()).then_some(&*entry.purpose);
    let glass =
        (entry.under_break_glass && own != Some(BREAK_THE_GLASS)).then_some(BREAK_THE_GLASS);
    own.into_iter().chain(glass).map(|code| {
        let mut coding = json!({ "system": ACT_REASON, "code": code });
        if let (Some(_), Some(coding)) = (display::purpose_of(code), coding.as_object_mut()) {
            coding.insert("display".into(), display::purpose(code).into());
        }
        json!({ "coding": [coding] })
    })
}

pub(super) fn source(entry: &AuditEntry, application: &Application) -> Value {
    let mut source = json!({ "observer": observer(entry), "type": [DATABASE.coding()] });
    if let (Some(site), Some(source)) = (&application.site, source.as_object_mut()) {
        source.insert("site".into(), (**site).into());
    }
    source
}

/// Returns the vault as an agent, identified by the journal chain of its process.
fn observer(entry: &AuditEntry) -> Value {
    json!({
        "identifier": { "system": WRITER, "value": entry.position.writer },
        "display": "chartlock vault",
    })
}

fn network(application: &Application) -> Value {
    let address = &*application.address;
    let kind = match address {
        _ if address.parse::<IpAddr>().is_ok() => "2",
        _ if address.contains("://") => "5",
        _ => "1",
    };
    json!({ "address": address, "type": kind })
}
