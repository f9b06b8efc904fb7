//! Purposes of accesses.

/// Purpose of an access: a code of the HL7 v3 value set PurposeOfUse
/// (2.16.840.1.113883.1.11.20448).
///
/// ```
/// # use chartlock::Purpose;
/// assert_eq!(Purpose::EmergencyTreatment.code(), "ETREAT");
/// assert_eq!("ETREAT".parse(), Ok(Purpose::EmergencyTreatment));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// `TREAT`: care of the patient.
    Treatment,
    /// `ETREAT`: care in an emergency.
    EmergencyTreatment,
    /// `BTG`: break-glass access.
    BreakTheGlass,
    /// `COC`: coordination of care.
    CareCoordination,
    /// `HPAYMT`: payment.
    Payment,
    /// `HOPERAT`: operation of the health care organization.
    Operations,
    /// `PATADMIN`: administration of patients, such as admission.
    PatientAdministration,
    /// `HQUALIMP`: quality improvement.
    QualityImprovement,
    /// `HLEGAL`: a legal proceeding.
    Legal,
    /// `HSYSADMIN`: administration of the system, such as a migration.
    SystemAdministration,
    /// `PATRQT`: a request by the patient.
    PatientRequest,
    /// `FAMRQT`: a request by the family.
    FamilyRequest,
    /// `PUBHLTH`: public health.
    PublicHealth,
    /// `HRESCH`: research.
    Research,
    /// `HMARKT`: marketing.
    Marketing,
}

impl Purpose {
    /// All purposes, in the order of their declaration.
    pub(crate) const ALL: [Self; 15] = [
        Self::Treatment,
        Self::EmergencyTreatment,
        Self::BreakTheGlass,
        Self::CareCoordination,
        Self::Payment,
        Self::Operations,
        Self::PatientAdministration,
        Self::QualityImprovement,
        Self::Legal,
        Self::SystemAdministration,
        Self::PatientRequest,
        Self::FamilyRequest,
        Self::PublicHealth,
        Self::Research,
        Self::Marketing,
    ];

    /// Returns the code in HL7 v3 ActReason.
    pub fn code(self) -> &'static str {
        match self {
            Self::Treatment => "TREAT",
            Self::EmergencyTreatment => "ETREAT",
            Self::BreakTheGlass => "BTG",
            Self::CareCoordination => "COC",
            Self::Payment => "HPAYMT",
            Self::Operations => "HOPERAT",
            Self::PatientAdministration => "PATADMIN",
            Self::QualityImprovement => "HQUALIMP",
            Self::Legal => "HLEGAL",
            Self::SystemAdministration => "HSYSADMIN",
            Self::PatientRequest => "PATRQT",
            Self::FamilyRequest => "FAMRQT",
            Self::PublicHealth => "PUBHLTH",
            Self::Research => "HRESCH",
            Self::Marketing => "HMARKT",
        }
    }
}
