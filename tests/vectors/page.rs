//! Second implementation of the journal page of format.md. The module
//! uses `wincode`, and no code of this crate.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wincode::{SchemaRead, SchemaWrite};

use crate::page_summaries;

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Page {
    pub schema: u16,
    pub previous: [u8; 32],
    pub began: i64,
    pub latest: i64,
    pub seen: Vec<Seen>,
    pub contexts: Vec<Context>,
    pub subjects: Vec<Subject>,
    pub entries: Vec<Entry>,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, Copy, PartialEq)]
pub struct Place {
    pub writer: [u8; 16],
    pub sequence: u64,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Seen {
    pub page: Place,
    pub digest: [u8; 32],
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Context {
    pub actor: String,
    pub purpose: String,
    pub request: String,
    pub organization: String,
    pub under_break_glass: u8,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Subject {
    pub chart: [u8; 16],
    pub jsub: [u8; 16],
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, Copy, PartialEq)]
pub struct Record {
    pub rtag: [u8; 16],
    pub jnam: [u8; 16],
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Entry {
    pub after: u32,
    pub context: u16,
    pub operation: u8,
    pub outcome: u8,
    pub stage: u32,
    pub target: Target,
    pub reason: Option<String>,
    pub consent: Option<String>,
    pub note: Option<String>,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub enum Target {
    Vault,
    Header {
        generation: u64,
        digest: [u8; 32],
    },
    Subject {
        subject: u16,
    },
    Entry {
        subject: u16,
        sequence: u64,
        digest: [u8; 32],
    },
    Record {
        subject: u16,
        record: Record,
        version: u64,
    },
    Version {
        subject: u16,
        record: Record,
        version: u64,
        digest: [u8; 32],
    },
    Settled {
        page: Place,
        place: u32,
    },
    Finding {
        fault: u8,
        chain: [u8; 16],
        page: u64,
        pages: u64,
    },
    Slot {
        slot: u16,
        kind: u16,
    },
    MasterKey {
        number: u32,
    },
    Reencrypted {
        subject: u16,
        record: Record,
        version: u64,
        before: [u8; 32],
        after: [u8; 32],
    },
    Records {
        subject: u16,
        read: Vec<ReadVersion>,
    },
    Retention {
        subject: u16,
        written: Option<Written>,
        until: Option<i64>,
    },
    Hold {
        subject: u16,
        written: Option<Written>,
        hold: u64,
    },
    Later,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, Copy, PartialEq)]
pub struct ReadVersion {
    pub record: Record,
    pub version: u64,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, Copy, PartialEq)]
pub struct Written {
    pub sequence: u64,
    pub digest: [u8; 32],
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Page {
    /// Returns the tags whose values the filter contains.
    pub fn filtered_jsubs(&self) -> BTreeSet<[u8; 16]> {
        let concerns_all = !self.seen.is_empty()
            || (self.entries.iter()).any(|entry| matches!(entry.operation, 10 | 34));
        let jsubs = self.subjects.iter().map(|subject| subject.jsub);
        jsubs.chain(concerns_all.then_some([0; 16])).collect()
    }

    /// Returns the page's content as JSON, in the form that the vectors contain.
    pub fn content_json(&self) -> Vec<u8> {
        let seen = self.seen.iter().map(|seen| {
            json!({
                "writer": hex(&seen.page.writer),
                "sequence": seen.page.sequence,
                "digest": hex(&seen.digest),
            })
        });
        let summaries = page_summaries::json_of(&self.extensions);
        let fields = json!({
            "previous": hex(&self.previous),
            "began": self.began,
            "latest": self.latest,
            "seen": seen.collect::<Value>(),
            "entries": self.entries.iter().map(|entry| self.entry(entry)).collect::<Value>(),
        });
        joined([fields, summaries]).to_string().into_bytes()
    }

    fn entry(&self, entry: &Entry) -> Value {
        let context = &self.contexts[usize::from(entry.context)];
        let fields = json!({
            "at": self.began.saturating_add(entry.after.into()),
            "actor": context.actor,
            "purpose": context.purpose,
            "request": context.request,
            "organisation": context.organization,
            "broke_glass": context.under_break_glass == 1,
            "operation": entry.operation,
            "outcome": entry.outcome,
            "stage": entry.stage,
        });
        let texts = [
            ("reason", &entry.reason),
            ("consent", &entry.consent),
            ("note", &entry.note),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?))));
        let texts = Value::Object(texts.collect());
        joined([fields, texts, self.target(&entry.target)])
    }

    fn target(&self, target: &Target) -> Value {
        let subject = |index: &u16| {
            let subject = &self.subjects[usize::from(*index)];
            json!({ "chart": hex(&subject.chart), "jsub": hex(&subject.jsub) })
        };
        let record =
            |record: &Record| json!({ "rtag": hex(&record.rtag), "jnam": hex(&record.jnam) });
        match target {
            Target::Vault => json!({ "target": 0 }),
            Target::Header { generation, digest } => {
                json!({ "target": 1, "generation": generation, "digest": hex(digest) })
            }
            Target::Subject { subject: of } => joined([json!({ "target": 2 }), subject(of)]),
            Target::Entry {
                subject: of,
                sequence,
                digest,
            } => {
                let own = json!({ "target": 3, "sequence": sequence, "digest": hex(digest) });
                joined([own, subject(of)])
            }
            Target::Record {
                subject: of,
                record: at,
                version,
            } => {
                let own = json!({ "target": 4, "version": version });
                joined([own, subject(of), record(at)])
            }
            Target::Version {
                subject: of,
                record: at,
                version,
                digest,
            } => {
                let own = json!({ "target": 5, "version": version, "digest": hex(digest) });
                joined([own, subject(of), record(at)])
            }
            Target::Settled { page, place } => json!({
                "target": 6,
                "writer": hex(&page.writer),
                "sequence": page.sequence,
                "place": place,
            }),
            Target::Finding {
                fault,
                chain,
                page,
                pages,
            } => json!({
                "target": 7,
                "fault": fault,
                "writer": hex(chain),
                "page": page,
                "pages": pages,
            }),
            Target::Slot { slot, kind } => json!({ "target": 8, "slot": slot, "kind": kind }),
            Target::MasterKey { number } => json!({ "target": 9, "master_key": number }),
            Target::Reencrypted {
                subject: of,
                record: at,
                version,
                before,
                after,
            } => {
                let digests = json!({ "digest": hex(after), "digest_before": hex(before) });
                let own = json!({ "target": 10, "version": version });
                joined([own, digests, subject(of), record(at)])
            }
            Target::Retention {
                subject: of,
                written,
                until,
            } => {
                let mut own = json!({ "target": 12 });
                if let Some(until) = until {
                    own["until"] = json!(until);
                }
                joined([own, written_json(written), subject(of)])
            }
            Target::Hold {
                subject: of,
                written,
                hold,
            } => {
                let own = json!({ "target": 13, "hold": hold });
                joined([own, written_json(written), subject(of)])
            }
            Target::Records { subject: of, read } => {
                let read = read.iter().map(|read| {
                    let version = json!({ "version": read.version });
                    joined([version, record(&read.record)])
                });
                let own = json!({ "target": 11, "read": read.collect::<Value>() });
                joined([own, subject(of)])
            }
            Target::Later => panic!("no page with such a target opens"),
        }
    }
}

fn written_json(written: &Option<Written>) -> Value {
    written.map_or(
        json!({}),
        |Written { sequence, digest }| json!({ "sequence": sequence, "digest": hex(&digest) }),
    )
}

/// Merges several JSON objects into one object.
pub fn joined<const N: usize>(objects: [Value; N]) -> Value {
    let fields = objects.into_iter().flat_map(|object| match object {
        Value::Object(fields) => fields,
        _ => panic!("not an object"),
    });
    Value::Object(fields.collect())
}
