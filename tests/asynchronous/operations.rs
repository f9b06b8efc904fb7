//! Operations of sessions and vaults, compared with the blocking ones.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chartlock::access::{AllowAll, RulePolicy};
use chartlock::asynchronous::{
    AsyncItems, AsyncRecordReader, AsyncRecordWriter, AsyncSession, AsyncVault,
};
use chartlock::input::InputField;
use chartlock::lists::{HistoryQuery, ListQuery};
use chartlock::{Document, Error, Precondition, Record, Subject};
use futures_util::StreamExt;

use super::common::invalid::invalid_text;
use super::common::{actor, subject};
use super::{id, session, vault};

#[test]
fn async_handles_are_send_and_static() {
    fn is_owned<T: Send + 'static>() {}
    is_owned::<AsyncVault>();
    is_owned::<AsyncSession>();
    is_owned::<AsyncRecordReader>();
    is_owned::<AsyncRecordWriter>();
    is_owned::<AsyncItems<Record>>();
}

#[test]
fn async_futures_are_send() {
    fn is_send<T: Send>(_: T) {}
    let (vault, id) = (vault(), id("note"));
    let session = session(&vault);
    is_send(session.put(&id, Document::from(b"{}").label("lab")));
    is_send(session.get(&id));
    is_send(session.get_all(id.subject()));
    is_send(session.reader(&id));
    is_send(session.writer(&id).finish());
    is_send(vault.close());
}

#[tokio::test]
async fn async_operations_return_results_of_blocking_operations() {
    let vault = vault();
    let (session, id) = (session(&vault), id("note"));
    let blocking = session.blocking().clone();

    assert_eq!(session.put(&id, b"one").await, Ok(1));
    let document = Document::owned(b"two".to_vec()).content_type("text/plain");
    assert_eq!(
        session
            .put_if(&id, Precondition::Version(1), document)
            .await,
        Ok(2)
    );
    let record = session.get(&id).await.unwrap().unwrap();
    assert_eq!((&record[..], record.version()), (&b"two"[..], 2));
    assert_eq!(record.info().content_type(), Some("text/plain"));
    let first = session.get_version(&id, 1).await.unwrap().unwrap();
    assert_eq!(&first[..], b"one");
    assert_eq!(
        session.history(&id).await.unwrap(),
        blocking.history(&id).unwrap()
    );
    let query = HistoryQuery::new().newest_first();
    let page = session.history_page(&id, &query);
    let versions = page
        .await
        .unwrap()
        .into_iter()
        .map(|it| it.unwrap().version());
    assert!(versions.eq([2, 1]));
    assert_eq!(session.retract(&id).await, Ok(Some(3)));
    assert!(session.get(&id).await.unwrap().is_none());
    assert!(session.reader(&id).await.unwrap().is_none());
    let version = session.reader_of_version(&id, 2).await.unwrap();
    assert_eq!(version.unwrap().len(), 3);
}

#[tokio::test]
async fn async_streams_yield_all_items_of_iterators() {
    let vault = vault();
    let session = session(&vault);
    // More than two batches by count, and one record that ends a batch by its size.
    let mut records: Vec<_> = (0..150)
        .map(|number| {
            (
                id(&format!("Observation/{number:03}")),
                vec![number as u8; 10],
            )
        })
        .collect();
    records[70].1 = vec![1; 2 << 20];
    let puts = records.iter().cloned();
    let puts = puts.map(|(id, content)| (id, Document::owned(content)));
    let outcomes = session.put_many(puts.collect()).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok));

    let chart = subject("MRN-1042");
    let infos: Vec<_> = session.list(&chart).await.unwrap().collect().await;
    let names: BTreeSet<_> = (infos.into_iter())
        .map(|info| info.unwrap().name().to_owned())
        .collect();
    assert_eq!(names.len(), records.len());

    let query = ListQuery::new().by_name().limit(100);
    let first = session.list_page(&chart, &query).await.unwrap();
    let query = query.after(first.next_cursor().unwrap());
    let last = session.list_page(&chart, &query).await.unwrap();
    let paged = first.into_iter().chain(last);
    let paged = paged.map(|info| info.unwrap().name().to_owned());
    assert!(paged.eq(names));
    let count = session.count_records(&chart).await.unwrap();
    assert_eq!(count.current, records.len() as u64);

    let found: Vec<_> = session.get_all(&chart).await.unwrap().collect().await;
    assert_eq!(found.len(), records.len());
    for record in found {
        let record = record.unwrap();
        let (_, content) = (records.iter())
            .find(|(id, _)| id.name() == record.info().name())
            .unwrap();
        assert!(record[..] == content[..]);
    }
    let subjects: Vec<_> = session.subjects().await.unwrap().collect().await;
    assert_eq!(subjects, [Ok(chart)]);
    let unknown = Subject::patient("MRN-0").unwrap();
    assert!(
        session
            .get_all(&unknown)
            .await
            .unwrap()
            .next()
            .await
            .is_none()
    );
}

#[tokio::test]
async fn async_errors_are_errors_of_the_vault() {
    let vault = vault();
    let (session, id) = (session(&vault), id("note"));
    session.put(&id, b"one").await.unwrap();
    let conflict = session.put_if(&id, Precondition::Absent, b"two").await;
    assert_eq!(conflict, Err(Error::Conflict));
    let invalid = session.put(&id, Document::from(b"two").label("")).await;
    let empty_label = invalid_text(InputField::Label, "");
    assert_eq!(invalid, Err(empty_label.clone()));
    let many = vec![(id.clone(), Document::from(b"two").label(""))];
    assert_eq!(session.put_many(many).await, Err(empty_label));
    vault.blocking().set_policy(RulePolicy::new([]).unwrap());
    assert_eq!(session.get(&id).await.unwrap_err(), Error::Denied);
    vault.blocking().set_policy(AllowAll);
    vault.close().await.unwrap();
    assert_eq!(session.get(&id).await.unwrap_err(), Error::Locked);
}

#[tokio::test]
async fn closure_errors_of_other_types_are_returned() {
    #[derive(Debug, PartialEq)]
    enum AppError {
        Vault(Error),
        NoSuchNote,
    }
    impl From<Error> for AppError {
        fn from(error: Error) -> Self {
            Self::Vault(error)
        }
    }
    let vault = vault();
    let (session, id) = (session(&vault), id("note"));
    let missing = session.with(move |session| match session.get(&id)? {
        Some(note) => Ok(note.len()),
        None => Err(AppError::NoSuchNote),
    });
    assert_eq!(missing.await, Err(AppError::NoSuchNote));
    let stopped = vault.with(|vault| {
        vault.lock();
        vault.recovery_kit()?;
        Ok(())
    });
    assert_eq!(stopped.await, Err(AppError::Vault(Error::Locked)));
}

#[tokio::test]
async fn break_glass_session_reads_despite_policy() {
    let vault = vault();
    let id = id("note");
    session(&vault).put(&id, b"one").await.unwrap();
    vault.blocking().set_policy(RulePolicy::new([]).unwrap());
    let hour = Duration::from_secs(3600);
    let glass = vault.break_glass(actor("dr.okafor"), id.subject(), "unconscious", hour);
    let glass = glass.await.unwrap();
    assert_eq!(&glass.get(&id).await.unwrap().unwrap()[..], b"one");
    let refused = vault.break_glass(actor("dr.okafor"), id.subject(), "", hour);
    let invalid = invalid_text(InputField::Reason, "");
    assert_eq!(refused.await.unwrap_err(), invalid);
}

#[tokio::test]
async fn record_becomes_bytes_without_copy() {
    let (vault, id) = (vault(), id("note"));
    let session = session(&vault);
    session.put(&id, Bytes::from(vec![7; 1000])).await.unwrap();
    let record = session.get(&id).await.unwrap().unwrap();
    let address = record.as_ptr();
    let bytes = Bytes::from(record);
    assert_eq!((bytes.as_ptr(), bytes.len()), (address, 1000));
}
