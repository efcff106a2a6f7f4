//! The gateway on real PostgreSQL: what it shows is what is stored, of those alone whom the caller may see; what is wrong is refused in
//! one shape; who leaves costs nothing any more.

#[path = "gateway/administration.rs"]
mod administration;
#[path = "gateway/adversary.rs"]
mod adversary;
#[path = "gateway/adversary_reads.rs"]
mod adversary_reads;
#[path = "gateway/adversary_sideways.rs"]
mod adversary_sideways;
#[path = "gateway/adversary_ways.rs"]
mod adversary_ways;
#[path = "gateway/api_document.rs"]
mod api_document;
#[path = "gateway/audit.rs"]
mod audit;
#[path = "gateway/bad_frames.rs"]
mod bad_frames;
#[path = "gateway/cluster.rs"]
mod cluster;
#[path = "gateway/export.rs"]
mod export;
#[path = "gateway/first_lines.rs"]
mod first_lines;
#[path = "gateway/groups.rs"]
mod groups;
#[allow(dead_code, reason = "the tests of the command line need more of it")]
#[path = "standalone/harness.rs"]
mod harness;
#[path = "gateway/isolation.rs"]
mod isolation;
#[path = "gateway/killed.rs"]
mod killed;
#[path = "gateway/leaving.rs"]
mod leaving;
#[path = "gateway/live.rs"]
mod live;
#[path = "gateway/neighbours.rs"]
mod neighbours;
#[path = "gateway/oidc.rs"]
mod oidc;
#[path = "gateway/oracle.rs"]
mod oracle;
#[path = "gateway/pages.rs"]
mod pages;
#[path = "gateway/people.rs"]
mod people;
#[path = "gateway/plugins.rs"]
mod plugins;
#[path = "gateway/preview.rs"]
mod preview;
#[path = "gateway/program.rs"]
mod program;
#[path = "gateway/redis_tls.rs"]
mod redis_tls;
#[path = "gateway/refusals.rs"]
mod refusals;
#[path = "gateway/renewed.rs"]
mod renewed;
#[path = "gateway/renewed_streams.rs"]
mod renewed_streams;
#[path = "gateway/replica.rs"]
mod replica;
#[path = "gateway/rights.rs"]
mod rights;
#[path = "gateway/schemathesis.rs"]
mod schemathesis;
#[path = "gateway/scopes.rs"]
mod scopes;
#[path = "gateway/shapes.rs"]
mod shapes;
#[path = "gateway/socket.rs"]
mod socket;
#[path = "gateway/tasks.rs"]
mod tasks;
#[path = "gateway/ui.rs"]
mod ui;
#[path = "gateway/watch.rs"]
mod watch;
#[path = "gateway/web_socket.rs"]
mod web_socket;
#[path = "gateway/withdrawn.rs"]
mod withdrawn;
#[path = "gateway/world.rs"]
mod world;
