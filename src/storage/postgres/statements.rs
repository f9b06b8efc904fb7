//! SQL statements of the storage.
//!
//! Each writing statement takes arrays, so that one statement serves any number of operations. It checks
//! the preconditions of its operations, and raises an error that contains the index of the first failed
//! one: PostgreSQL then rolls back the whole transaction, although its commit was already sent.
//!
//! The writing statements join the table with their keys, because the server plans such a statement once for
//! each connection. It would plan a comparison with an array anew in each transaction.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::postgres_options::Isolation;

/// Text that marks the error of a failed precondition. The index of the operation follows.
pub(super) const CONFLICT: &str = "chartlock conflict at operation ";

/// Bytes of values after which a page of a scan ends.
pub(super) const PAGE_BYTES: i64 = 4 << 20;

/// Time in milliseconds after which the server aborts a transaction whose client sends nothing. No server has
/// this value by default, so a statement can use the value to check that it runs in its transaction.
const IDLE: &str = "61007";

/// A statement with the types of its parameters.
#[derive(Debug)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) types: &'static [Type],
}

/// All statements, for the tables of one schema.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) schema: String,
    pub(super) begin: String,
    /// Sets what only some servers have, or what a role may have set itself.
    pub(super) settings: Sql,
    pub(super) begin_view: String,
    pub(super) read: Sql,
    pub(super) scan_keys: Sql,
    pub(super) scan_heads: Sql,
    pub(super) scan_values: Sql,
    pub(super) last: Sql,
    /// Locks the rows to change, in the order of their keys.
    pub(super) lock: Sql,
    /// Checks that keys have revisions.
    pub(super) check: Sql,
    /// Checks that keys are absent: inserts them, which blocks other inserts until the commit.
    pub(super) reserve: Sql,
    /// Returns the revisions of keys.
    pub(super) observe: Sql,
    pub(super) create: Sql,
    pub(super) replace: Sql,
    pub(super) write: Sql,
    pub(super) delete: Sql,
}

const NONE: &[Type] = &[];
const KEYS: &[Type] = &[Type::BYTEA_ARRAY];
const CHECKED: &[Type] = &[Type::BYTEA_ARRAY, Type::INT8_ARRAY, Type::INT4_ARRAY];
const RESERVED: &[Type] = &[Type::BYTEA_ARRAY, Type::INT4_ARRAY];
const PUT: &[Type] = &[
    Type::BYTEA_ARRAY,
    Type::INT8_ARRAY,
    Type::BYTEA_ARRAY,
    Type::INT4_ARRAY,
];
const REPLACED: &[Type] = &[
    Type::BYTEA_ARRAY,
    Type::INT8_ARRAY,
    Type::BYTEA_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
];
/// Lower bound, upper bound, limit.
const SCANNED: &[Type] = &[Type::BYTEA, Type::BYTEA, Type::INT8];
const SCANNED_HEADS: &[Type] = &[Type::BYTEA, Type::BYTEA, Type::INT8, Type::INT4];
const RANGES: &[Type] = &[Type::BYTEA_ARRAY, Type::BYTEA_ARRAY];

impl Statements {
    pub(super) fn new(schema: &str, isolation: Isolation, answer_wait: Duration) -> Self {
        let table = format!("\"{schema}\".object");
        let sql = |types, text: &str| Sql {
            text: text
                .replace("{object}", &table)
                .replace("{raise}", &raise()),
            types,
        };
        let isolation = isolation.sql();
        // A transaction that waits for a lock ends before its call does: the outcome is then known, and calls
        // that gave up leave no transactions on the server. 0 is no limit.
        let lock_wait = i32::try_from((answer_wait / 4 * 3).as_millis()).unwrap_or_default();
        Self {
            schema: schema.to_owned(),
            // Set `synchronous_commit`, because a role can have a default that does not wait for the disk. Set
            // `enable_seqscan`, because a plan that the server makes while the table is empty would read the whole
            // table until its statistics change.
            begin: format!(
                "begin isolation level {isolation}; set local synchronous_commit = on;
                 set local enable_seqscan = off;
                 set local idle_in_transaction_session_timeout = '{IDLE}ms'"
            ),
            settings: sql(NONE, &settings(lock_wait)),
            // A role can have a limit that is shorter than the pauses of a reader.
            begin_view: "begin isolation level repeatable read read only;
                 set local idle_in_transaction_session_timeout = 0"
                .to_owned(),
            read: sql(KEYS, READ_SQL),
            scan_keys: sql(SCANNED, SCAN_KEYS_SQL),
            scan_heads: sql(SCANNED_HEADS, SCAN_HEADS_SQL),
            scan_values: sql(SCANNED, &scan_values()),
            last: sql(RANGES, LAST_SQL),
            lock: sql(KEYS, LOCK_SQL),
            check: sql(CHECKED, CHECK_SQL),
            reserve: sql(RESERVED, RESERVE_SQL),
            observe: sql(KEYS, OBSERVE_SQL),
            create: sql(PUT, CREATE_SQL),
            replace: sql(REPLACED, REPLACE_SQL),
            write: sql(PUT, WRITE_SQL),
            delete: sql(KEYS, DELETE_SQL),
        }
    }
}

const READ_SQL: &str = "select key, revision, value from {object} where key = any($1)";
const SCAN_KEYS_SQL: &str =
    "select key, revision, octet_length(value)::bigint as length, ''::bytea as value from {object}
    where key >= $1 and key < $2 order by key limit $3";
const SCAN_HEADS_SQL: &str = "select key, revision, octet_length(value)::bigint as length, substring(value from 1 for $4) as value
    from {object} where key >= $1 and key < $2 order by key limit $3";
const LAST_SQL: &str =
    "select (select key from {object} where key >= range.first and key < range.past
    order by key desc limit 1) as key
    from unnest($1::bytea[], $2::bytea[]) with ordinality as range(first, past, number)
    order by range.number";
const LOCK_SQL: &str =
    "select 1 from {object} as object join unnest($1::bytea[]) as wanted(key) on object.key = wanted.key
    order by object.key for update of object";
const CHECK_SQL: &str = "with wanted as (select * from unnest($1::bytea[], $2::bigint[], $3::int[])
    as wanted(key, revision, index)),
    found as (select wanted.index from {object} as object join wanted
    on object.key = wanted.key and object.revision = wanted.revision
    order by object.key for share of object)
    {raise} from wanted where not exists (select from found where found.index = wanted.index)";
const RESERVE_SQL: &str =
    "with wanted as (select * from unnest($1::bytea[], $2::int[]) as wanted(key, index)),
    done as (insert into {object} (key, revision, value)
    select key, 0, ''::bytea from wanted order by key
    on conflict (key) do nothing returning key)
    {raise} from wanted where not exists (select from done where done.key = wanted.key)";
const OBSERVE_SQL: &str =
    "select object.key, revision from {object} as object join unnest($1::bytea[]) as wanted(key)
    on object.key = wanted.key order by object.key for share of object";
const CREATE_SQL: &str =
    "with wanted as (select * from unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::int[])
    as wanted(key, revision, value, index)),
    done as (insert into {object} (key, revision, value)
    select key, revision, value from wanted order by key
    on conflict (key) do nothing returning key)
    {raise} from wanted where not exists (select from done where done.key = wanted.key)";
const REPLACE_SQL: &str = "with wanted as (select * from unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::int[], $5::bigint[])
    as wanted(key, revision, value, index, expected)),
    done as (update {object} as object set revision = wanted.revision, value = wanted.value
    from wanted where object.key = wanted.key and object.revision = wanted.expected
    returning object.key)
    {raise} from wanted where not exists (select from done where done.key = wanted.key)";
const WRITE_SQL: &str =
    "with wanted as (select * from unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::int[])
    as wanted(key, revision, value, index)),
    done as (insert into {object} (key, revision, value)
    select key, revision, value from wanted order by key
    on conflict (key) do update set revision = excluded.revision, value = excluded.value
    returning key)
    {raise} from wanted where not exists (select from done where done.key = wanted.key)";
const DELETE_SQL: &str =
    "with done as (delete from {object} as object using unnest($1::bytea[]) as wanted(key)
    where object.key = wanted.key returning object.key),
    wanted as (select 0 as index from done where false)
    {raise} from wanted";

/// Returns the statement that sets a limit in milliseconds on the wait for a lock, and that keeps the server
/// from planning each statement in each transaction for the lengths of its arrays.
fn settings(lock_wait: i32) -> String {
    format!(
        "select set_config('lock_timeout', '{lock_wait}ms', true)
             where current_setting('lock_timeout') = '0'
         union all select set_config('plan_cache_mode', 'force_generic_plan', true)
             where current_setting('plan_cache_mode', true) is not null"
    )
}

/// Returns an expression that raises an error if a row of `wanted` remains, or if the statement does not run
/// in the transaction that [`Statements::begin`] begins. Otherwise, if the server
/// did not run `begin`, each statement would be its own transaction.
///
/// The error texts contain aggregates, so the server cannot compute them before it reads the rows.
fn raise() -> String {
    format!(
        "select case when current_setting('idle_in_transaction_session_timeout')
                 not in ('{IDLE}ms', '{IDLE}')
             then ('chartlock outside its transaction, rows ' || count(*))::int
         when min(wanted.index) is null then 0
         else ('{CONFLICT}' || min(wanted.index))::int end"
    )
}

/// Returns the scan of whole values. The server reads no value that the page does not contain.
fn scan_values() -> String {
    format!(
        "select key, revision, length, value, total from (
             select key, revision, value, octet_length(value)::bigint as length, count(*) over () as total,
                 sum(octet_length(value)) over (order by key) - octet_length(value) as before
             from (select key, revision, value from {{object}}
                   where key >= $1 and key < $2 order by key limit $3) as page
         ) as measured where before < {PAGE_BYTES} order by key"
    )
}
