//! Names of retracted, expunged and damaged records in reports.

use std::collections::BTreeSet;
use std::sync::Arc;

use chartlock::audit::AccessReport;
use chartlock::storage::{MemoryStorage, PerOperation, Storage};
use chartlock::{Operation, Purpose, Vault};

use crate::common::Stage;
use crate::common::objects::{delete, objects_of, put};
use crate::stage::*;

fn on_each(run: impl Fn(&Stage, &Vault)) {
    let stages = [
        Stage::new(MemoryStorage::new()),
        Stage::new(PerOperation::new(MemoryStorage::new())),
    ];
    for stage in stages {
        let vault = stage.create();
        run(&stage, &vault);
    }
}

/// Returns the report about `MRN-1`, made by the privacy office.
fn report(vault: &Vault) -> AccessReport {
    let office = session_as(vault, "privacy.office", Purpose::Operations);
    let trail = office.audit().unwrap();
    trail.accesses(&subject("MRN-1"), ..).unwrap()
}

/// Returns the records that an actor read, as the report shows them.
fn read_by(report: &AccessReport, actor: &str) -> BTreeSet<String> {
    let own = report
        .accesses
        .iter()
        .filter(|access| &*access.actor == actor);
    own.filter(|access| access.operation == Operation::Read)
        .filter_map(|access| access.record.clone())
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn retracted_and_expunged_records_keep_their_names_in_reports() {
    on_each(|_, vault| {
        let insider = session_as(vault, "insider", Purpose::Treatment);
        for name in ["hiv-test", "psychiatry", "kept"] {
            session_as(vault, "dr.garcia", Purpose::Treatment)
                .put(&record("MRN-1", name), b"{}")
                .unwrap();
            insider.get(&record("MRN-1", name)).unwrap();
        }
        insider.retract(&record("MRN-1", "hiv-test")).unwrap();
        insider
            .expunge(&record("MRN-1", "psychiatry"), "mistake")
            .unwrap();
        let report = report(vault);
        let all = names(&["hiv-test", "kept", "psychiatry"]);
        assert_eq!(read_by(&report, "insider"), all);
        assert_eq!(report.unnamed_records, 0);
        let office = session_as(vault, "privacy.office", Purpose::Research);
        office
            .disclose_record(&record("MRN-1", "hiv-test"), "a registry", "all")
            .unwrap();
        let trail = office.audit().unwrap();
        let disclosed = trail.disclosures(&subject("MRN-1")).unwrap();
        assert_eq!(disclosed.disclosures[0].record.as_deref(), Some("hiv-test"));
    });
}

#[test]
fn records_whose_current_version_is_damaged_or_missing_keep_their_names() {
    on_each(|stage, vault| {
        let garcia = session_as(vault, "dr.garcia", Purpose::Treatment);
        for name in ["altered", "missing", "lost"] {
            garcia.put(&record("MRN-1", name), b"1").unwrap();
            garcia.get(&record("MRN-1", name)).unwrap();
        }
        let storage: &Arc<dyn Storage> = &stage.storage;
        let before = objects_of(&**storage, b"r");
        garcia.put(&record("MRN-1", "altered"), b"2").unwrap();
        garcia.put(&record("MRN-1", "missing"), b"2").unwrap();
        let after = objects_of(&**storage, b"r");
        for (key, value) in after {
            let mut altered = value.clone();
            *altered.last_mut().unwrap() ^= 1;
            match before[&key] == value {
                true => put(&**storage, &key, &altered),
                // Alter one of the two records with an earlier version, and delete the other.
                false if objects_of(&**storage, b"x").is_empty() => {
                    put(&**storage, b"x", b"");
                    put(&**storage, &key, &altered);
                }
                false => delete(&**storage, &key),
            }
        }
        let report = report(vault);
        let read = read_by(&report, "dr.garcia");
        assert!(
            read.contains("altered") && read.contains("missing"),
            "{read:?}"
        );
        assert!(!read.contains("lost") && read.len() == 3, "{read:?}");
        assert_eq!(report.unnamed_records, 1);
    });
}
