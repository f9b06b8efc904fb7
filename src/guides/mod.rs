//! Guides for teams that run an app with a vault: one page for each task, with code that is tested.
//!
//! | you want to | guide |
//! |---|---|
//! | call the vault from async code and from axum | [`async_code`] |
//! | back up, restore, and practise both | [`backups`] |
//! | know what happens when the disk is full | [`full_disk`] |
//! | keep the secrets that open the vault | [`secrets`] |
//! | decide who may read what | [`access_rules`] |
//! | serve many tenants | [`tenants`] |
//! | open a vault in two processes | [`processes`] |
//! | move records in or out | [`moving`] |
//! | know what to monitor | [`monitoring`] |
//! | update the crate | [`upgrades`] |
//! | answer an incident | [`incidents`] |
//! | choose a rotation | [`rotations`] |

#[doc = include_str!("access_rules.md")]
pub mod access_rules {}

#[cfg(feature = "tokio")]
#[doc = include_str!("async_code.md")]
pub mod async_code {}

#[doc = include_str!("backups.md")]
pub mod backups {}

#[doc = include_str!("full_disk.md")]
pub mod full_disk {}

#[doc = include_str!("incidents.md")]
pub mod incidents {}

#[doc = include_str!("monitoring.md")]
pub mod monitoring {}

#[doc = include_str!("moving.md")]
pub mod moving {}

#[doc = include_str!("processes.md")]
pub mod processes {}

#[doc = include_str!("rotations.md")]
pub mod rotations {}

#[doc = include_str!("secrets.md")]
pub mod secrets {}

#[doc = include_str!("tenants.md")]
pub mod tenants {}

#[doc = include_str!("upgrades.md")]
pub mod upgrades {}
