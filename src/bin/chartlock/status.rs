//! `status`: slots, subjects, records and keys.

use chartlock::audit::Timestamp;
use serde_json::json;

use super::arguments::ReadArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::with_readable_vault;
use super::output::{self, Text};
use super::slots::slot_line;

pub(crate) fn run(arguments: &ReadArguments, context: &Context) -> Result<Exit, Failure> {
    with_readable_vault(arguments, context, |open| {
        let slots = open.vault.slots()?;
        let usage = open.vault.key_usage()?;
        let mut text = Text::new("vault")
            .line("subjects", usage.subjects)
            .line("erased subjects", usage.erased)
            .line("records", usage.records)
            .line("earlier versions", usage.earlier_versions)
            .line(
                "versions under former patient keys",
                usage.under_former_keys,
            )
            .line("unreadable versions", usage.unreadable_versions)
            .line("unreadable patient entries", usage.unreadable_entries);
        for key in &usage.masters {
            let state = if key.active { "active" } else { "former" };
            let since = Timestamp::from_millis(key.created).day();
            let objects = key.objects;
            let label = format!("master key {}", key.number);
            text.push(
                &label,
                format!("{state}, since {since}, {objects} patient entries"),
            );
        }
        for slot in &slots {
            text.push(&format!("slot {}", slot.id), slot_line(slot));
        }
        let is_whole = usage.unreadable_versions == 0 && usage.unreadable_entries == 0;
        let text = text.note_if(!is_whole, "next: run `chartlock verify`");
        let document = json!({ "slots": slots, "key_usage": usage });
        output::print(context.json, &document, text)?;
        Ok(if is_whole {
            Exit::Success
        } else {
            Exit::Findings
        })
    })
}
