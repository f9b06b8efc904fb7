//! Tests of the PostgreSQL storage, over servers that the tests start.
#![cfg(all(feature = "postgres", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic
)]

#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod contention;
mod encryption;
mod extremes;
mod logs;
mod model;
mod options;
mod outages;
mod plain_sql;
mod plans;
mod poolers;
mod preconditions;
mod restores;
mod roles;
