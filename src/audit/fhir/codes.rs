//! Codes of FHIR, DICOM and HL7 that audit events contain.

use serde_json::{Value, json};

/// A code of a code system, with its display text.
#[derive(Clone, Copy)]
pub(super) struct Code {
    system: &'static str,
    code: &'static str,
    display: &'static str,
}

const fn code(system: &'static str, code: &'static str, display: &'static str) -> Code {
    Code {
        system,
        code,
        display,
    }
}

impl Code {
    pub(super) fn coding(&self) -> Value {
        json!({ "system": self.system, "code": self.code, "display": self.display })
    }

    pub(super) fn concept(&self) -> Value {
        json!({ "coding": [self.coding()] })
    }
}

/// HL7 v3 ActReason, the code system of purposes of use.
pub(super) const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ENTITY: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const EVENT: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const OBJECT_LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle";
const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const ROLE_CLASS: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleClass";
const SOURCE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";

pub(super) const REST: Code = code(EVENT, "rest", "RESTful Operation");
pub(super) const CREATE: Code = code(INTERACTION, "create", "create");
pub(super) const READ: Code = code(INTERACTION, "read", "read");
pub(super) const UPDATE: Code = code(INTERACTION, "update", "update");
pub(super) const DELETE: Code = code(INTERACTION, "delete", "delete");
pub(super) const SEARCH: Code = code(INTERACTION, "search", "search");
pub(super) const HISTORY: Code = code(INTERACTION, "history-instance", "history-instance");

pub(super) const APPLICATION_ACTIVITY: Code = code(DICOM, "110100", "Application Activity");
pub(super) const AUDIT_LOG_USED: Code = code(DICOM, "110101", "Audit Log Used");
pub(super) const EXPORT: Code = code(DICOM, "110106", "Export");
pub(super) const SECURITY_ALERT: Code = code(DICOM, "110113", "Security Alert");
pub(super) const STARTED: Code = code(DICOM, "110120", "Application Start");
pub(super) const STOPPED: Code = code(DICOM, "110121", "Application Stop");
pub(super) const EMERGENCY_OVERRIDE: Code = code(DICOM, "110127", "Emergency Override Started");
pub(super) const SECURITY_CONFIGURATION: Code = code(DICOM, "110129", "Security Configuration");
pub(super) const SECURITY_ATTRIBUTES: Code =
    code(DICOM, "110135", "Object Security Attributes Changed");

pub(super) const ACCESS: Code = code(LIFECYCLE, "access", "Access/View Record Lifecycle Event");
pub(super) const ARCHIVE: Code = code(LIFECYCLE, "archive", "Archive Record Lifecycle Event");
pub(super) const DESTROY: Code = code(
    LIFECYCLE,
    "destroy",
    "Destroy/Delete Record Lifecycle Event",
);
pub(super) const DISCLOSE: Code = code(LIFECYCLE, "disclose", "Disclose Record Lifecycle Event");
pub(super) const ENCRYPT: Code = code(LIFECYCLE, "encrypt", "Encrypt Record Lifecycle Event");
pub(super) const HOLD: Code = code(LIFECYCLE, "hold", "Add Legal Hold Record Lifecycle Event");
pub(super) const REACTIVATE: Code = code(
    LIFECYCLE,
    "reactivate",
    "Re-activate Record Lifecycle Event",
);
pub(super) const RELEASE: Code = code(
    LIFECYCLE,
    "unhold",
    "Remove Legal Hold Record Lifecycle Event",
);
pub(super) const RESTORE: Code = code(LIFECYCLE, "restore", "Restore Record Lifecycle Event");
pub(super) const VERIFY: Code = code(LIFECYCLE, "verify", "Verify Record Lifecycle Event");

pub(super) const APPLICATION: Code = code(DICOM, "110150", "Application");
pub(super) const DESTINATION: Code = code(DICOM, "110152", "Destination Role ID");
pub(super) const SOURCE_ROLE: Code = code(DICOM, "110153", "Source Role ID");
pub(super) const CUSTODIAN: Code = code(PARTICIPANT, "custodian", "Custodian");
pub(super) const AUTHOR: Code = code(PARTICIPATION, "AUT", "author (originator)");
pub(super) const RECIPIENT: Code = code(PARTICIPATION, "IRCP", "information recipient");
pub(super) const PROVIDER: Code = code(ROLE_CLASS, "PROV", "healthcare provider");

pub(super) const DATABASE: Code = code(SOURCE, "5", "Database Server");

pub(super) const PERSON: Code = code(ENTITY, "1", "Person");
pub(super) const SYSTEM_OBJECT: Code = code(ENTITY, "2", "System Object");
pub(super) const CONSENT: Code = code("http://hl7.org/fhir/resource-types", "Consent", "Consent");
pub(super) const OTHER: Code = code(ENTITY, "4", "Other");
pub(super) const REQUEST: Code = code(
    "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
    "XrequestId",
    "transport specific unique identifier where http X-Request-Id is used",
);
pub(super) const PATIENT: Code = code(ROLE, "1", "Patient");
pub(super) const DOMAIN_RESOURCE: Code = code(ROLE, "4", "Domain Resource");
pub(super) const SECURITY_RESOURCE: Code = code(ROLE, "13", "Security Resource");
pub(super) const QUERY: Code = code(ROLE, "24", "Query");
pub(super) const LOGICALLY_DELETED: Code = code(OBJECT_LIFECYCLE, "14", "Logical deletion");
pub(super) const ERASED: Code = code(
    OBJECT_LIFECYCLE,
    "15",
    "Permanent erasure / Physical destruction",
);
