//! A web service over one vault: FHIR records, streamed images, roles, consent, break-glass, access
//! reports, key rotation, health checks and a graceful end. `README.md` explains the service.
//!
//! `cargo run --release --example portal` prints commands to try.

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
mod access_reports;
mod break_glass;
mod caller;
mod clinic_policy;
mod connections;
mod consents;
mod failure;
mod fhir_records;
mod fhir_search;
mod health;
mod images;
mod names;
mod rotation;
mod sample_charts;
mod server;
mod settings;
mod state;
mod users;
mod vault_opening;

use std::process::ExitCode;

use chartlock::keys::KeyFile;
use common::Arguments;
pub(crate) use common::Outcome;
use settings::{Settings, USAGE};

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(arguments: &mut Arguments) -> Outcome<()> {
    let settings = Settings::read(arguments)?;
    if let Some(path) = &settings.new_key_file {
        KeyFile::create(path)?;
        outln!(
            "created the key file {}; keep a copy in a safe place",
            path.display()
        );
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(server::run(settings))
}
