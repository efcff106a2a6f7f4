//! The errors of PostgreSQL: each names the operation, the thing and the source, and what the user can do.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database.{key}: {message}")]
    Settings { key: &'static str, message: String },
    #[error("connect to PostgreSQL at {at}: {message}")]
    Connect { at: String, message: String, source: Option<tokio_postgres::Error> },
    /// A primary that is none any more, or one whose administrator lets nobody write.
    #[error(
        "PostgreSQL at {at} is read-only ({why}): nothing can be stored or changed until it takes writes"
    )]
    ReadOnly { at: String, why: &'static str },
    #[error("{operation} {thing}: {}", describe(.source))]
    Sql { operation: &'static str, thing: String, source: tokio_postgres::Error },
    #[error("migrate the schema: {message}")]
    Migrate { message: String },
    #[error("schema version {found} in the database, {wanted} wanted: {hint}")]
    Schema { found: i64, wanted: i64, hint: &'static str },
    #[error(
        "the database holds blocks of format {found}, and this program reads formats 1 to {known}: go on with the version \
         that wrote them, or restore a backup from before it"
    )]
    BlockFormat { found: i16, known: i16 },
    #[error("decode {thing}: {message}")]
    Decode { thing: String, message: String },
    #[error("{0}")]
    Invalid(String),
}

impl StoreError {
    /// The server's `statement_timeout` (or somebody) ended a statement.
    pub const STATEMENT_TIMEOUT: SqlState = SqlState::QUERY_CANCELED;

    /// For `map_err`: names what was done to what.
    pub fn sql(
        operation: &'static str,
        thing: impl Into<String>,
    ) -> impl FnOnce(tokio_postgres::Error) -> StoreError {
        let thing = thing.into();
        move |source| StoreError::Sql { operation, thing, source }
    }

    pub fn code(&self) -> Option<&SqlState> {
        match self {
            StoreError::Sql { source, .. } => source.code(),
            StoreError::Connect { source: Some(source), .. } => source.code(),
            _ => None,
        }
    }

    /// Trying the same again can help: the connection was lost, the server is starting, a lock was not to be had.
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Sql { source, .. } => source.is_closed() || transient(source),
            StoreError::Connect { source: Some(source), .. } => source.code().is_none() || transient(source),
            StoreError::Connect { source: None, .. } | StoreError::ReadOnly { .. } => true,
            _ => false,
        }
    }
}

fn transient(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return error.as_db_error().is_none() };
    // Classes: 08 connection, 40 rollback (serialization, deadlock), 53 resources (disk full, too many connections),
    // 55P03 lock not available, 57P01-03 shut down, crash, starting, 25006 read-only (until there is a primary).
    let code = code.code();
    ["08", "40", "53", "57P"].iter().any(|class| code.starts_with(class))
        || [SqlState::LOCK_NOT_AVAILABLE, SqlState::READ_ONLY_SQL_TRANSACTION]
            .iter()
            .any(|own| own.code() == code)
}

/// PostgreSQL's own words (message, detail, hint), not just "db error".
pub fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let mut text = format!("{} (SQLSTATE {})", db.message(), db.code().code());
        for more in [db.detail(), db.hint()].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(more);
        }
        if *db.code() == SqlState::INSUFFICIENT_PRIVILEGE {
            text.push_str(
                "; as an administrator, by what this login is for: GRANT cordwood_writer TO it (writer), GRANT cordwood_gateway TO it \
                 (gateway), GRANT cordwood_reader TO it (queries; --into-table needs a login that may make tables). The operator's login \
                 owns the database and Cordwood's tables: ALTER DATABASE ... OWNER TO it; if another login made the tables, \
                 REASSIGN OWNED BY that login TO it",
            );
        }
        if *db.code() == SqlState::READ_ONLY_SQL_TRANSACTION {
            text.push_str("; PostgreSQL is read-only: a standby, or default_transaction_read_only is on");
        }
        if *db.code() == SqlState::INVALID_SQL_STATEMENT_NAME {
            text.push_str("; a proxy before PostgreSQL that pools transactions does this: connect to PostgreSQL itself, or pool sessions");
        }
        return text;
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
