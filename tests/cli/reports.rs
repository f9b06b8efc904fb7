//! Reports as text and JSON.

use chartlock::{RecordId, Subject};

use crate::tool::Tool;

/// Creates a vault with accesses to two patients, and a disclosure.
pub(crate) fn used() -> Tool {
    let tool = Tool::new();
    tool.app(|_, session| {
        for patient in ["MRN-1042", "MRN-2077"] {
            let id = RecordId::patient(patient, "Observation/bp").unwrap();
            session.put(&id, b"{}").unwrap();
            session.get(&id).unwrap();
        }
        let subject = Subject::patient("MRN-1042").unwrap();
        session.place_hold(&subject, "court order").unwrap();
    });
    let vault = tool.vault();
    let actor = chartlock::Actor::new("records.office").unwrap();
    let office = vault.session(actor, chartlock::Purpose::PublicHealth);
    let subject = Subject::patient("MRN-1042").unwrap();
    office
        .disclose(&subject, HOSTILE_RECIPIENT, HOSTILE)
        .unwrap();
    drop(office);
    vault.close().unwrap();
    tool
}

/// Texts that would change a page or a terminal if they were not escaped.
pub(crate) const HOSTILE_RECIPIENT: &str = "<script>alert('x')</script>\u{202e}";
pub(crate) const HOSTILE: &str = "\"><img src=x onerror=alert(1)> &amp; \u{1b}[2J</td></table>";

#[test]
fn access_report_lists_each_access() {
    let tool = used();
    let report = ["report", "access", "vault", "--key-file", "key", "MRN-1042"];
    let json = tool.json(&report);
    let accesses = json["accesses"].as_array().unwrap();
    assert!(
        accesses
            .iter()
            .any(|access| access["record"] == "Observation/bp")
    );
    let text = tool.ok(&report);
    assert!(
        text.starts_with("Access report: patient MRN-1042\n"),
        "{text}"
    );
    for part in [
        "dr.garcia",
        "read a record",
        "Observation/bp",
        "timeline",
        "does not show",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("MRN-2077"), "{text}");
    let past = tool.json(&[&report[..], &["--until", "2020-01-01"]].concat());
    assert_eq!(past["accesses"].as_array().unwrap().len(), 0);
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let tool = used();
    let text = tool.ok(&[
        "report",
        "disclosures",
        "vault",
        "--key-file",
        "key",
        "MRN-1042",
    ]);
    assert!(
        text.contains("<script>alert('x')</script>\\u{202e}"),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}') && text.contains("\\u{1b}[2J"),
        "{text}"
    );
}

#[test]
fn identifier_can_come_from_standard_input() {
    let tool = used();
    std::fs::write(tool.path("identifier"), "MRN-1042\n").unwrap();
    let mut command = tool.command(&["report", "access", "vault", "--key-file", "key", "-"]);
    command.stdin(std::fs::File::open(tool.path("identifier")).unwrap());
    let run = crate::tool::run(command);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("patient MRN-1042"));
}

#[test]
fn exposure_and_activity_reports_name_their_subjects() {
    let tool = used();
    let slots = tool.json(&["slots", "list", "vault", "--key-file", "key"]);
    let id = slots["slots"][0]["id"].to_string();
    let exposure = tool.json(&[
        "report",
        "exposure",
        "vault",
        "--key-file",
        "key",
        "--slot",
        &id,
    ]);
    assert_eq!(exposure["subjects"].as_array().unwrap().len(), 2);
    let activity = tool.ok(&[
        "report",
        "activity",
        "vault",
        "--key-file",
        "key",
        "dr.garcia",
    ]);
    assert!(
        activity.contains("MRN-1042") && activity.contains("MRN-2077"),
        "{activity}"
    );
    assert!(activity.contains("court order"), "{activity}");
}

#[test]
fn auditor_reads_reports_and_nothing_else() {
    let tool = used();
    tool.ok(&["key-file", "auditor"]);
    let add = [
        "slots",
        "add",
        "vault",
        "--key-file",
        "key",
        "--other-key-file",
        "auditor",
        "--auditor",
    ];
    tool.ok(&add);
    let report = [
        "report",
        "access",
        "vault",
        "--key-file",
        "auditor",
        "MRN-1042",
    ];
    tool.fails(3, &report);
    let text = tool.ok(&[&report[..], &["--auditor"]].concat());
    assert!(
        text.contains("WARNING: The writers of the journal pages were not verified"),
        "{text}"
    );
    assert!(text.contains("dr.garcia"), "{text}");
}

#[test]
fn text_report_keeps_empty_cells_and_escapes_the_separator() {
    let tool = Tool::new();
    tool.fill(1);
    tool.app(|_, session| {
        let subject = Subject::patient("MRN-0").unwrap();
        session.place_hold(&subject, "court | order").unwrap();
    });
    let open = ["vault", "--key-file", "key"];
    let text = tool.ok(&[&["report", "activity"], &open[..], &["dr.garcia"]].concat());
    assert!(text.contains("court \\u{7c} order"), "{text}");
    let rows = text.lines().filter(|line| line.contains(" | TREAT | "));
    let cells: Vec<_> = rows.map(|line| line.split(" | ").count()).collect();
    assert!(cells.len() > 1, "{text}");
    assert!(cells.iter().all(|count| *count == cells[0]), "{text}");
}
