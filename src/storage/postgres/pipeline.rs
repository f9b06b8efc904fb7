//! Pipelined commits, which send all statements of a transaction in one round trip.
//!
//! The client sends the commit without waiting for the earlier statements. A statement whose precondition
//! does not hold raises an error, and the server then answers the commit with a rollback. So a transaction
//! is committed exactly if all its statements and its commit succeeded. If an answer is missing, the
//! commit outcome is unknown.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::{Error, Row};

use super::connection::{Connection, ConnectionPool, Parameter};
use super::failure::{conflict, failed, is_consequence, is_lost, is_retryable, is_unavailable};
use super::preconditions::{Groups, Puts};
use super::queries::{column, revision};
use super::statements::{Sql, Statements};
use crate::storage::limits::check_sizes;
use crate::storage::{CommitError, Committed, Operation, Transaction};

type QueryResult = Result<Vec<Row>, Error>;
type Sent<'a> = Pin<Box<dyn Future<Output = QueryResult> + Send + 'a>>;

/// Maximum number of retries of a transaction that the server aborted, and the pause before the first retry.
const RETRIES_MAX: u32 = 12;
const PAUSE: Duration = Duration::from_millis(2);

/// Outcome of one attempt.
enum CommitAttempt {
    Done(Result<Committed, CommitError>),
    /// The server aborted the transaction because of a concurrent one.
    Retry(Error),
    /// The connection was lost before the transaction began.
    NotSent(Error),
}

/// Commits one transaction.
pub(super) async fn commit_one(
    connections: &ConnectionPool,
    transaction: &Transaction,
) -> Result<Committed, CommitError> {
    check_sizes(transaction)?;
    if transaction.operations().is_empty() {
        return Ok(Committed::default());
    }
    let (mut retries, mut backoff) = (0, connections.backoff());
    loop {
        let (groups, committed) = Groups::new(transaction)?;
        let connection = connections.get().await?;
        let attempt = attempt(connections, &connection, transaction, &groups, committed);
        // Without an answer, the commit may still arrive.
        let unknown = (CommitAttempt::Done(Err(CommitError::Unknown)), false);
        let (attempt, is_ended) = connections.answered(attempt).await.unwrap_or(unknown);
        match is_ended {
            true => drop(connection),
            // The next call must not run in this transaction.
            false => drop(connection.detach()),
        }
        match attempt {
            CommitAttempt::Done(result) => return result,
            CommitAttempt::Retry(error) if retries == RETRIES_MAX => {
                return Err(failed(&error).into());
            }
            CommitAttempt::Retry(_) => {
                // Pause longer after each retry; otherwise, the same processes would soon collide again.
                sleep(PAUSE * 2_u32.pow(retries.min(6))).await;
                retries += 1;
            }
            CommitAttempt::NotSent(error) => {
                if !backoff.pause().await {
                    return Err(failed(&error).into());
                }
            }
        }
    }
}

/// Returns the outcome of one attempt, and `true` if no transaction is open on the connection after it.
async fn attempt(
    connections: &ConnectionPool,
    connection: &Connection,
    transaction: &Transaction,
    groups: &Groups<'_>,
    committed: Committed,
) -> (CommitAttempt, bool) {
    let statements = connections.statements();
    if let Err(error) = prepare(connection, statements, groups).await {
        return match is_lost(&error) {
            true => (CommitAttempt::NotSent(error), true),
            false => (CommitAttempt::Done(Err(failed(&error).into())), true),
        };
    }
    let mut answers = match in_order(requests(connection, statements, groups)).await {
        Ok(answers) => answers,
        Err(error) if error.is_closed() => return (CommitAttempt::NotSent(error), false),
        Err(error) => return (CommitAttempt::Done(Err(failed(&error).into())), false),
    };
    let ended = answers.pop();
    let is_ended = matches!(ended, Some(Ok(_)));
    // The first error is the cause; the server answers later statements with a consequence.
    let cause = answers.iter().find_map(|answer| answer.as_ref().err());
    let attempt = match (cause, ended) {
        (None, Some(Ok(_))) => {
            let observed = answers.iter().flatten().flatten();
            CommitAttempt::Done(with_observed(committed, transaction, groups, observed))
        }
        (None, Some(Err(error))) if is_retryable(&error) => CommitAttempt::Retry(error),
        // A server that fails during the commit may have committed.
        (None, _) => CommitAttempt::Done(Err(CommitError::Unknown)),
        (Some(_), _) => failed_attempt(answers, is_ended),
    };
    (attempt, is_ended)
}

/// Returns the outcome of a transaction with a failed statement. The server answered the commit if
/// `is_ended`.
fn failed_attempt(answers: Vec<QueryResult>, is_ended: bool) -> CommitAttempt {
    let errors = answers.into_iter().map(Result::err).enumerate();
    let mut errors = errors.filter_map(|(index, error)| Some((index, error?)));
    let Some((index, error)) = errors.find(|(_, error)| !is_consequence(error)) else {
        return CommitAttempt::Done(Err(CommitError::Unknown));
    };
    if let Some(operation) = conflict(&error) {
        return CommitAttempt::Done(Err(CommitError::Conflict { operation }));
    }
    match error.code() {
        // If `begin` failed, the other statements have no transaction and change nothing.
        Some(code) if is_unavailable(code) && index == 0 => CommitAttempt::NotSent(error),
        Some(_) if is_retryable(&error) => CommitAttempt::Retry(error),
        Some(_) if is_ended => CommitAttempt::Done(Err(failed(&error).into())),
        // Without answers, the server may have run the commit. A pooler that lost the server sends an
        // error of its own.
        _ => CommitAttempt::Done(Err(CommitError::Unknown)),
    }
}

/// Prepares the statements that a transaction needs. Preparing waits for answers, so it comes before the
/// pipeline.
async fn prepare(
    connection: &Connection,
    statements: &Statements,
    groups: &Groups<'_>,
) -> Result<(), Error> {
    for (sql, is_needed) in needed(statements, groups) {
        if is_needed {
            connection.prepare(sql).await?;
        }
    }
    Ok(())
}

fn needed<'s>(statements: &'s Statements, groups: &Groups<'_>) -> [(&'s Sql, bool); 9] {
    let is_deleting = !groups.deleted.is_empty() || !groups.reserved.keys.is_empty();
    [
        (&statements.settings, true),
        (&statements.lock, groups.is_locking()),
        (&statements.check, !groups.checks.keys.is_empty()),
        (&statements.reserve, !groups.reserved.keys.is_empty()),
        (&statements.create, !groups.created.is_empty()),
        (&statements.replace, !groups.replaced.is_empty()),
        (&statements.write, !groups.written.is_empty()),
        (&statements.delete, is_deleting),
        (&statements.observe, groups.is_observing()),
    ]
}

/// Returns the requests of a transaction, from `begin` to `commit`.
///
/// The requests lock the rows to change in the order of their keys, and then the rows to check, so that
/// deadlocks are rare.
fn requests<'a>(
    connection: &'a Connection,
    statements: &'a Statements,
    groups: &'a Groups<'_>,
) -> Vec<Sent<'a>> {
    let mut sent = vec![execute(connection, &statements.begin)];
    sent.push(Box::pin(connection.query(&statements.settings, &[])));
    if groups.is_locking() {
        let changed = groups.changed();
        sent.push(Box::pin(async move {
            connection.query(&statements.lock, &[&changed]).await
        }));
    }
    sent.extend(observe(connection, statements, &groups.former));
    for (sql, puts) in [
        (&statements.replace, &groups.replaced),
        (&statements.create, &groups.created),
        (&statements.write, &groups.written),
    ] {
        for puts in puts.iter() {
            sent.push(Box::pin(put(connection, sql, puts)));
        }
    }
    let (checks, reserved) = (&groups.checks, &groups.reserved);
    if !checks.keys.is_empty() {
        sent.push(Box::pin(async move {
            let parameters: [Parameter<'_>; 3] =
                [&checks.keys, &checks.expected, &checks.operations];
            connection.query(&statements.check, &parameters).await
        }));
    }
    sent.extend(observe(connection, statements, &groups.observed));
    if !reserved.keys.is_empty() {
        sent.push(Box::pin(async move {
            let parameters: [Parameter<'_>; 2] = [&reserved.keys, &reserved.operations];
            connection.query(&statements.reserve, &parameters).await
        }));
        sent.push(Box::pin(async move {
            connection
                .query(&statements.delete, &[&reserved.keys])
                .await
        }));
    }
    if !groups.deleted.is_empty() {
        sent.push(Box::pin(async move {
            connection
                .query(&statements.delete, &[&groups.deleted])
                .await
        }));
    }
    sent.push(execute(connection, "commit"));
    sent
}

/// Returns the statement that returns the revisions of keys, if there are any.
fn observe<'a>(
    connection: &'a Connection,
    statements: &'a Statements,
    keys: &'a [&'a [u8]],
) -> Option<Sent<'a>> {
    if keys.is_empty() {
        return None;
    }
    Some(Box::pin(async move {
        connection.query(&statements.observe, &[&keys]).await
    }))
}

async fn put(connection: &Connection, sql: &Sql, puts: &Puts<'_>) -> QueryResult {
    let Puts {
        keys,
        revisions,
        values,
        expected,
        operations,
        ..
    } = puts;
    let mut parameters: Vec<Parameter<'_>> = vec![keys, revisions, values, operations];
    if !expected.is_empty() {
        parameters.push(expected);
    }
    connection.query(sql, &parameters).await
}

fn execute<'a>(connection: &'a Connection, text: &'a str) -> Sent<'a> {
    Box::pin(async move {
        connection.execute(text).await?;
        Ok(Vec::new())
    })
}

/// Sends requests in their order without waiting for answers, and returns all answers. A request is
/// sent when its future is polled for the first time.
///
/// # Errors
/// The error of a request that could not be sent. The requests after it, and so the commit, are not sent.
async fn in_order(mut sent: Vec<Sent<'_>>) -> Result<Vec<QueryResult>, Error> {
    let mut answers: Vec<Option<QueryResult>> = sent.iter().map(|_| None).collect();
    let mut is_sending = true;
    poll_fn(|context| {
        let mut is_done = true;
        for (sent, answer) in sent.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match sent.as_mut().poll(context) {
                    Poll::Ready(Err(error)) if is_sending => return Poll::Ready(Err(error)),
                    Poll::Ready(done) => *answer = Some(done),
                    Poll::Pending => is_done = false,
                }
            }
        }
        is_sending = false;
        match is_done {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    })
    .await?;
    Ok(answers.into_iter().flatten().collect())
}

/// Fills in the revisions that the server returned for checks without a precondition. They are the revisions
/// before the transaction.
fn with_observed<'r>(
    mut committed: Committed,
    transaction: &Transaction,
    groups: &Groups<'_>,
    rows: impl Iterator<Item = &'r Row>,
) -> Result<Committed, CommitError> {
    if !groups.is_observing() {
        return Ok(committed);
    }
    // Only the statement for observed keys returns rows with two columns.
    for row in rows.filter(|row| row.len() == 2) {
        let key: &[u8] = column(row, 0)?;
        let found = revision(column(row, 1)?);
        let operations = transaction
            .operations()
            .iter()
            .zip(&mut committed.revisions)
            .filter(|(operation, _)| operation.key() == key)
            .take_while(|(operation, _)| matches!(operation, Operation::Check { .. }));
        for (_, revision) in operations {
            *revision = Some(found.clone());
        }
    }
    Ok(committed)
}
