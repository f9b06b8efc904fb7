//! Routes, start and graceful end of the server.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post};
use chartlock::asynchronous::AsyncVault;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::connections::{self, Connections, Requests};
use crate::consents::Consents;
use crate::fhir_records::RESOURCE_MAX;
use crate::settings::{Place, Settings};
use crate::state::Portal;
use crate::{
    Outcome, access_reports, break_glass, caller, fhir_records, fhir_search, health, images,
    rotation, vault_opening,
};

/// Longest time for requests that are running when the service ends.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Runs the service until the process receives SIGTERM or an interrupt.
pub(crate) async fn run(settings: Settings) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let consents = Arc::new(Consents::default());
    // Bind first, so that a port in use is an error before any storage is created.
    let listener = TcpListener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let (place, known) = (scratch.path().to_owned(), Arc::clone(&consents));
    print_storage(&settings);
    let idle_max = settings.idle_max;
    let vault = tokio::task::spawn_blocking(move || vault_opening::open(&settings, &place, &known));
    let vault = AsyncVault::from(vault.await??).max_operations(vault_opening::OPERATIONS_MAX);
    // While the vault is being opened, a signal still ends the process, which loses nothing.
    let signal = end_signal()?;
    let portal = Arc::new(Portal::new(vault.clone(), consents));
    outln!("listening on http://{address}");
    print_commands(&address.to_string());

    let (stop, stopped) = oneshot::channel::<()>();
    let routes = routes(Arc::clone(&portal)).into_make_service_with_connect_info::<Requests>();
    let server = axum::serve(Connections::new(listener, idle_max), routes);
    let server = server.with_graceful_shutdown(async move { _ = stopped.await });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => ended??,
        () = signal => {}
    }
    outln!("ending: waiting for running requests");
    portal.is_ending.store(true, Ordering::Release);
    let _ = stop.send(());
    if timeout(DRAIN_MAX, &mut server).await.is_err() {
        outln!("ending: some requests did not end in time");
    }
    // Writes the last journal entries. Requests that still run end with an error.
    vault.close().await?;
    outln!("ended: the journal is complete");
    Ok(())
}

fn routes(portal: Arc<Portal>) -> Router {
    let record = get(fhir_records::get)
        .put(fhir_records::put)
        .delete(fhir_records::delete);
    let image = get(images::get).put(images::put);
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/patients", get(fhir_search::patients))
        .route("/patients/{patient}", delete(access_reports::erase))
        .route(
            "/patients/{patient}/accesses",
            get(access_reports::accesses),
        )
        .route(
            "/patients/{patient}/break-glass",
            post(break_glass::begin).delete(break_glass::end),
        )
        .route(
            "/patients/{patient}/images/{id}",
            image.layer(DefaultBodyLimit::disable()),
        )
        .route("/patients/{patient}/{kind}", get(fhir_search::resources))
        .route("/patients/{patient}/{kind}/{id}", record)
        .route(
            "/patients/{patient}/{kind}/{id}/_history",
            get(fhir_records::history),
        )
        .route(
            "/patients/{patient}/{kind}/{id}/_history/{version}",
            get(fhir_records::get_version),
        )
        .route(
            "/admin/rotation",
            get(rotation::progress).post(rotation::begin),
        )
        .layer(DefaultBodyLimit::max(RESOURCE_MAX))
        .layer(middleware::from_fn(connections::keep))
        .layer(middleware::from_fn(caller::mark))
        .with_state(portal)
}

/// Returns a future that waits for SIGTERM or an interrupt. From this call on, neither ends the process.
#[cfg(unix)]
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async { _ = tokio::signal::ctrl_c().await })
}

fn print_storage(settings: &Settings) {
    match &settings.place {
        Place::Temporary => outln!("The vault is in a directory that is removed at the end."),
        Place::Directory(directory) => outln!("The vault is in {}.", directory.display()),
        Place::Postgres(_) => outln!("The vault is in PostgreSQL."),
    }
    if settings.bucket.is_some() {
        outln!("Content above 64 KiB is in a bucket.");
    }
    if settings.key_file.is_none() {
        outln!("Its passphrase is public. Outside of demonstrations, set PORTAL_KEY_FILE.");
    }
}

fn print_commands(address: &str) {
    outln!(
        r#"
Try, in another terminal:

  P=http://{address}/patients
  ID=$(curl -s -H 'Authorization: Bearer demo-garcia' $P | grep -oE '[0-9a-f]{{8}}-[0-9a-f-]{{27}}' | head -n 1)
  curl -s -H 'Authorization: Bearer demo-garcia' "$P/$ID/AllergyIntolerance"
  curl -s -H 'Authorization: Bearer demo-okafor' "$P/$ID/AllergyIntolerance"      # denied
  curl -s -H 'Authorization: Bearer demo-okafor' --json '{{"reason":"unconscious"}}' "$P/$ID/break-glass"
  curl -s -H 'Authorization: Bearer demo-okafor' "$P/$ID/AllergyIntolerance"      # permitted, for 30 minutes
  curl -s -H 'Authorization: Bearer demo-garcia' -H 'Content-Type: application/dicom' -T tests/data/dicom/CT_small.dcm "$P/$ID/images/ct-1"
  curl -s -H 'Authorization: Bearer demo-garcia' -r 128-131 "$P/$ID/images/ct-1"
  curl -s -H 'Authorization: Bearer demo-officer' "$P/$ID/accesses"               # who looked
  curl -s -H 'Authorization: Bearer demo-admin' -X POST http://{address}/admin/rotation
"#
    );
}
