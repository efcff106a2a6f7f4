//! The command line: its arguments and help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use cordwood_core::level::Level;

use crate::output::{ColorChoice, Format};
use crate::times::{self, When};

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 something failed, `audit` found a loss or `store verify` a fault; 2 the command line, a filter or the configuration is wrong.";

/// Logs from files, pods and pipes into PostgreSQL, with retention and levels from resource files; and back out again.
#[derive(Debug, Parser)]
#[command(name = "cordwood", version, arg_required_else_help = true, after_help = EXIT_CODES, propagate_version = true)]
#[command(subcommand_value_name = "COMMAND", max_term_width = 110)]
pub struct Cli {
    /// When to use colour (auto: on a terminal, unless NO_COLOR is set)
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: ColorChoice,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Standalone(StandaloneArgs),
    Query(QueryArgs),
    Tail(TailArgs),
    Audit(AuditArgs),
    Plan(PlanArgs),
    Retention(RetentionArgs),
    Store(StoreArgs),
    Crds(CrdsArgs),
    Completions(CompletionsArgs),
    /// Holds the PostgreSQL of a data folder; started by the other commands
    #[command(name = crate::embedded_postgres::KEEPER_COMMAND, hide = true)]
    PostgresKeeper {
        data_dir: PathBuf,
    },
}

/// Where PostgreSQL is: --database-url, or else the data folder of `cordwood standalone`, whose own PostgreSQL is started for
/// as long as the command needs it.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// PostgreSQL to use, postgresql://user:password@host:port/database (better in the environment: others see arguments)
    #[arg(
        long,
        env = "CORDWOOD_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Database"
    )]
    pub database_url: Option<String>,

    /// Folder with the PostgreSQL that `cordwood standalone` made [default: $XDG_DATA_HOME/cordwood; root: /var/lib/cordwood]
    #[arg(long, env = "CORDWOOD_DATA_DIR", value_name = "DIR", help_heading = "Database")]
    pub data_dir: Option<PathBuf>,
}

/// Which records.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Filter expression; several arguments are joined by spaces. Quote it: the shell also knows > and "
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,

    /// This level and above: trace, debug, info, warn, error
    #[arg(short, long, value_parser = parse_level, value_name = "LEVEL", help_heading = "Filters")]
    pub level: Option<Level>,

    /// Only this tenant; may be repeated
    #[arg(short, long, value_name = "SLUG", help_heading = "Filters")]
    pub tenant: Vec<String>,

    /// Only this service
    #[arg(short, long, value_name = "NAME", help_heading = "Filters")]
    pub service: Option<String>,

    /// Only this namespace
    #[arg(short, long, value_name = "NAME", help_heading = "Filters")]
    pub namespace: Option<String>,

    /// Only this pod
    #[arg(short, long, value_name = "NAME", help_heading = "Filters")]
    pub pod: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// How to print records
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT", help_heading = "Output")]
    pub output: Format,

    /// Do not cut table lines at the terminal's edge
    #[arg(long, help_heading = "Output")]
    pub full: bool,

    /// Show (and read) times in the local time zone instead of UTC
    #[arg(long, help_heading = "Output")]
    pub local: bool,

    /// Let control characters of log bodies through to the terminal (they are escaped; never when piped)
    #[arg(long, help_heading = "Output")]
    pub raw_control: bool,
}

/// How fresh blocks become sealed ones.
#[derive(Args, Clone, Debug)]
pub struct SealArgs {
    /// Seconds between sealing rounds (fresh blocks into the table partitions of their retention class)
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub seal_every: u64,

    /// Format of the blocks that sealing writes; blocks of all formats are read [default: the newest that the database has; a new one: 3]
    #[arg(long, value_name = "FORMAT", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub seal_format: Option<u8>,
}

/// Read files, pods or stdin into PostgreSQL, in this one process.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  cordwood standalone '/var/log/*.log'                  read these files and follow them
  cordwood standalone --pods-dir /var/log/pods          read what pods on this machine print
  my-service | cordwood standalone - --service my-service
  cordwood standalone app.log --until-idle              read what is there, print a summary, end
  cordwood standalone app.log --resources ./policies    with LogRetentionPolicy and (Cluster)LogLevelConfig files

PostgreSQL 15 to 18 is started in the data folder (it need only be installed), or name one with --database-url.
Ctrl-C stores what has been read and ends; a second one ends at once. What was stored is never read twice.")]
pub struct StandaloneArgs {
    /// Files or globs (quote them) to read and follow; `-` reads stdin
    #[arg(value_name = "FILE")]
    pub inputs: Vec<String>,

    /// Read container logs under this folder as a Kubernetes node lays them out
    #[arg(long, value_name = "DIR")]
    pub pods_dir: Option<PathBuf>,

    #[command(flatten)]
    pub database: DatabaseArgs,

    /// Folder with LogRetentionPolicy and (Cluster)LogLevelConfig files (*.yaml, *.yml), re-read when they change
    #[arg(short, long, value_name = "DIR")]
    pub resources: Option<PathBuf>,

    /// Tenant of what is read
    #[arg(long, value_name = "SLUG", default_value = "local")]
    pub tenant: String,

    /// Service of what is read from files and stdin [default: what a line itself says]
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// Zone of times in files and stdin that name none: UTC, a name like Europe/Berlin, an offset like +02:00, or local
    #[arg(long, value_name = "ZONE", default_value = "local", value_parser = parse_time_zone)]
    pub time_zone: String,

    /// End once everything that is there has been stored
    #[arg(long)]
    pub until_idle: bool,

    /// Seconds without anything new that count as idle
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "until_idle", value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub idle_after: u64,

    #[command(flatten)]
    pub seal: SealArgs,

    /// Seconds between retention passes (also after every change in --resources)
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub retention_every: u64,

    /// Where the HTTP API answers. With --until-idle there is none unless this is given [default: 127.0.0.1:9600]
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "HTTP API")]
    pub listen: Option<std::net::SocketAddr>,

    /// File that says who may ask the HTTP API, and what they see (docs/api.md); without it --listen must be a loopback address
    #[arg(long, value_name = "FILE", help_heading = "HTTP API")]
    pub tokens_file: Option<PathBuf>,

    /// Whether who searches what over HTTP is stored as an audit record of the service `cordwood-gateway`; of itself where --tokens-file tells
    /// callers apart
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "HTTP API")]
    pub audit_reads: Option<bool>,

    /// No HTTP API
    #[arg(long, conflicts_with_all = ["listen", "tokens_file", "audit_reads"], help_heading = "HTTP API")]
    pub no_gateway: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// Search stored records, newest first.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Filter expressions:
  timeout                     a word of the message or any value
  \"connection reset\"          these words in this order
  time*  *out*                a word that begins so, or has this in it (no index knows that)
  service:api data.user.id=42 a field has this value (fields of the record, or data.<key>, data.\"any key\")
  level>=warn  IN (a, b)  EXISTS  CONTAINS \"text\"  LIKE \"a%\"  REGEXP \"a.*b\"
  a b    a OR b    NOT a  -a  AND is implicit; NOT binds before AND before OR; parentheses group

Examples:
  cordwood query                                        the newest 100 records
  cordwood query 'level>=warn \"connection reset\"' --since 1h
  cordwood query --service checkout --level error -o json | jq .message
  cordwood query --cursor 1795240800000000.0-1f-3       the page after (printed below each page)
  cordwood query --cursor 1795240800000000.0-1f-3 --oldest-first
                                                        what came next, oldest first
  cordwood query --id 1795240800000000.0-1f-3           one record (its `id` in -o json)
  cordwood query 'service:api' --since 7d --into-table api_week
                                                        matching records as plain rows, for SQL")]
pub struct QueryArgs {
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Not older than: 15m, 1h30m, 7d (ago), 2026-11-21, '2026-11-21 06:00', RFC 3339
    #[arg(long, value_parser = times::parse, value_name = "TIME", help_heading = "Filters")]
    pub since: Option<When>,

    /// Older than
    #[arg(long, value_parser = times::parse, value_name = "TIME", help_heading = "Filters")]
    pub until: Option<When>,

    /// Records at the most [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000), help_heading = "Output")]
    pub limit: Option<u64>,

    /// All of them, page after page
    #[arg(long, conflicts_with = "limit", help_heading = "Output")]
    pub all: bool,

    /// Go on after this cursor, in either direction; a record's id is one
    #[arg(long, alias = "after", value_name = "CURSOR", help_heading = "Output")]
    pub cursor: Option<String>,

    /// Begin with the oldest record (or right after the cursor) and go forward in time
    #[arg(long, conflicts_with = "reverse", help_heading = "Output")]
    pub oldest_first: bool,

    /// Print the oldest of the found records first
    #[arg(long, help_heading = "Output")]
    pub reverse: bool,

    /// The one record with this id
    #[arg(long, value_name = "ID", conflicts_with_all = ["filter", "since", "until", "limit", "all", "cursor", "oldest_first", "into_table"], help_heading = "Filters")]
    pub id: Option<String>,

    /// Write all matching records into a new table of the database instead of printing them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["limit", "all", "cursor", "oldest_first", "reverse"], help_heading = "Output")]
    pub into_table: Option<String>,

    /// End the search of one page after this time with what was found
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub budget_ms: u64,

    #[command(flatten)]
    pub output: OutputArgs,

    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Print records as they are stored.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  cordwood tail                                         everything, from now on
  cordwood tail 'level>=warn service:checkout'
  cordwood tail --lines 50 -o raw
  cordwood tail --cursor 1795240800000000.0-1f-3        go on where another one ended (it says where)")]
pub struct TailArgs {
    #[command(flatten)]
    pub filter: FilterArgs,

    /// First print this many of the newest records that are there
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100_000), help_heading = "Output")]
    pub lines: u64,

    /// First print everything after this cursor, oldest first
    #[arg(long, alias = "after", value_name = "CURSOR", conflicts_with = "lines", help_heading = "Output")]
    pub cursor: Option<String>,

    /// Milliseconds between looking for new records
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub poll_ms: u64,

    #[command(flatten)]
    pub output: OutputArgs,

    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// What became of every stream's bytes: read, stored, gated, limited, rejected, lost, duplicates skipped.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit code 1 when something is lost, so that a script can ask.

Examples:
  cordwood audit
  cordwood audit -o json | jq 'select(.lostBytes > 0)'")]
pub struct AuditArgs {
    /// Only streams whose name contains this
    #[arg(value_name = "STREAM")]
    pub stream: Option<String>,

    /// How to print: table, or json (one object per stream and file, then the totals)
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: TableOrJson,

    #[command(flatten)]
    pub database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TableOrJson {
    Table,
    Json,
}

/// What retention would do now, and why. Changes nothing.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Policies come from --resources, else from the cluster that the kubeconfig names. One that is invalid is told of and
counts as the database remembers it, as the operator does it.

Examples:
  cordwood plan --resources ./policies
  cordwood plan -o json | jq .steps"
)]
pub struct PlanArgs {
    /// Folder with LogRetentionPolicy files; without it: the cluster's policies
    #[arg(short, long, value_name = "DIR")]
    pub resources: Option<PathBuf>,

    /// Plan for another moment: what would be done then (a time, or a duration from now such as +7d)
    #[arg(long, value_name = "TIME", value_parser = times::parse_future)]
    pub at: Option<When>,

    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: TableOrJson,

    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// What retention keeps, and what it took away.
#[derive(Args, Clone, Debug)]
#[command(subcommand_value_name = "COMMAND")]
pub struct RetentionArgs {
    #[command(subcommand)]
    pub command: RetentionCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum RetentionCommand {
    Report(ReportArgs),
}

/// For an auditor: what is kept of each policy and level, and what was dropped, when, and under which approval by whom.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "It reads the database alone: policies that are deleted are in it as long as they keep records, and forever with what was
dropped of them.

Examples:
  cordwood retention report
  cordwood retention report --policy shop --since 90d
  cordwood retention report -o csv > retention.csv
  cordwood retention report -o json | jq '.dropped[] | select(.approval != null)'"
)]
pub struct ReportArgs {
    /// Only this policy
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,

    /// Only what was done since: 90d (ago), 2026-11-21, RFC 3339
    #[arg(long, value_parser = times::parse, value_name = "TIME")]
    pub since: Option<When>,

    /// How to print: table, json (one object), or csv (one table; its first column says what a row is about)
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: ReportFormat,

    #[command(flatten)]
    pub database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    Table,
    Json,
    Csv,
}

/// The store as a whole.
#[derive(Args, Clone, Debug)]
#[command(subcommand_value_name = "COMMAND")]
pub struct StoreArgs {
    #[command(subcommand)]
    pub command: StoreCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    Verify(VerifyArgs),
}

/// Read every block, and hold it against its row, its bloom filter and postings or index, and all that was counted.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit code 1 when a fault is left, so that a script can ask. Writers, sealing and retention go on meanwhile.

Examples:
  cordwood store verify
  cordwood store verify --repair
  cordwood store verify -o json | jq 'select(.fault)'"
)]
pub struct VerifyArgs {
    /// Rebuild filters, postings and indexes from their blocks, where they hide records; needs the login that made the schema
    #[arg(long)]
    pub repair: bool,

    /// How to print: table, or json (one object per table, then the first faults, then the totals)
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: TableOrJson,

    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Print the custom resource definitions, for `kubectl apply -f -`.
#[derive(Args, Clone, Debug)]
pub struct CrdsArgs {
    /// Only this one: lrp (LogRetentionPolicy), llc (LogLevelConfig) or cllc (ClusterLogLevelConfig)
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// Print completions for a shell, for example `cordwood completions bash > /etc/bash_completion.d/cordwood`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    pub shell: clap_complete::Shell,
}

fn parse_level(text: &str) -> Result<Level, String> {
    Level::ALL
        .into_iter()
        .find(|level| level.as_str().eq_ignore_ascii_case(text))
        .or_else(|| text.eq_ignore_ascii_case("warning").then_some(Level::Warn))
        .ok_or_else(|| "one of trace, debug, info, warn, error".to_owned())
}

fn parse_time_zone(text: &str) -> Result<String, String> {
    cordwood_agent::config::time_zone(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        super::Cli::command().debug_assert();
    }

    /// They were passed over without a word: the table got everything.
    #[test]
    fn a_table_is_written_whole() {
        let query = |more: &[&str]| {
            let arguments = ["cordwood", "query", "--into-table", "t"].iter().chain(more);
            super::Cli::command().try_get_matches_from(arguments)
        };
        assert!(query(&[]).is_ok());
        for more in [
            &["--limit", "10"][..],
            &["--all"],
            &["--cursor", "1.0-1f-3"],
            &["--after", "1.0-1f-3"],
            &["--oldest-first"],
            &["--reverse"],
        ] {
            assert!(query(more).is_err(), "{more:?}");
        }
    }
}
