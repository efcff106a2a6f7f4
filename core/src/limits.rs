//! Every limit, with its unit in its name. What a limit cuts is counted where it cuts.

/// Bytes that a file's fingerprint covers at the most.
pub const FINGERPRINT_BYTES_MAX: usize = 1024;
/// Bytes before a resume position that must be the same when reading goes on.
pub const MARKER_BYTES: usize = 64;
/// Lines of a file whose hashes are kept while it is read, to tell what is left of it after it was cut short.
pub const MILESTONES_MAX: usize = 256;
/// Bytes of such a line.
pub const MILESTONE_LINE_BYTES_MAX: usize = 64 << 10;
/// NUL bytes within a line that are a hole of its file, and end the line.
pub const HOLE_BYTES_MIN: usize = 512;
/// A joined record's body; what is above is cut and flagged `TRUNCATED`.
pub const RECORD_BYTES_MAX: usize = 12 << 20;
/// One physical line of a container's log file (the runtime cuts at 16 KiB; other files may not).
pub const LINE_BYTES_MAX: usize = RECORD_BYTES_MAX + 4096;
/// A batch is sent when its bodies reach this (a single larger record travels alone).
pub const BATCH_BYTES_TARGET: usize = 512 << 10;
/// Records in one batch.
pub const BATCH_RECORDS_MAX: usize = 4096;
/// Records that one message may hold (a foreign one can pack millions of empty ones into its bytes).
pub const MESSAGE_RECORDS_MAX: usize = 131_072;
/// Batches (a resource and scope) that one message may hold: each has a header and counters of its own.
pub const MESSAGE_BATCHES_MAX: usize = 4096;
/// Ids behind its hash that are tried for an origin whose hash another one has; then it gets one at random, and a second row.
pub const ORIGIN_PROBES_MAX: u32 = 16;
/// Origins that a writer remembers; above it, it asks PostgreSQL for their ids again.
pub const ORIGINS_REMEMBERED_BYTES_MAX: usize = 64 << 20;
/// Places of one topic partition that a writer asks Kafka for once more, because no message came from there, until its position has moved
/// over them. Each costs a reading from the position on. Holes above it are recorded unasked (`missing_messages_total`).
pub const GAPS_ASKED_MAX: usize = 1_024;
/// Answers of Kafka in a row that a writer cannot read, while nothing of a topic partition arrives, before it stops that one and says so.
pub const UNREADABLE_ANSWERS_MAX: u32 = 20;
/// Packed bytes of the message sets that a writer takes in one answer of a Kafka broker; a larger set comes alone. zstd packs at the
/// best 32,768 bytes into one (a block of 128 KiB into 4 bytes): 128 MiB unpacked.
pub const ANSWER_PACKED_BYTES_MAX: usize = 4 << 10;
/// Bytes of the bodies that are written as JSON for one message of another producer; what is above is cut and flagged `TRUNCATED`.
pub const MESSAGE_JSON_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// File descriptors that an agent keeps for sockets, folders and its checkpoint (half of them at the most); the others are for log files.
pub const DESCRIPTORS_RESERVED_MAX: usize = 256;
/// Files that one pattern of other programs' files may name; the others are told and wait.
pub const FILES_PER_PATTERN_MAX: usize = 16_384;
/// Dead letters that a writer keeps apart within a minute; more are counted in the last one's row.
pub const DEAD_LETTERS_PER_MINUTE_MAX: usize = 100;
/// Bytes of their payloads that it keeps whole within a minute; of others the first [`DEAD_LETTER_HEAD_BYTES`].
pub const DEAD_LETTER_BYTES_PER_MINUTE_MAX: usize = 2 * MESSAGE_BYTES_MAX;
pub const DEAD_LETTER_HEAD_BYTES: usize = 4096;
/// Bytes of dead letters' payloads in the database; above it the oldest are cut to [`DEAD_LETTER_HEAD_BYTES`].
pub const DEAD_LETTERS_BYTES_MAX: usize = 1 << 30;
/// Bytes of a body in the live feed; a longer one is cut there, and its entry says how long it is.
pub const FEED_BODY_BYTES_MAX: usize = 16 << 10;
/// How long a tenant's live feed stays in Redis after its last record.
pub const FEED_SECONDS_MAX: usize = 3600;
/// Kafka's `max.message.bytes` for a topic we create, and the producer's `message.max.bytes`.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// A topic that takes no message of this size is of no use: names and counts of a batch alone may need a part of it.
pub const MESSAGE_BYTES_MIN: usize = 64 << 10;
/// Records in a sealed block, at the most.
pub const SEALED_BLOCK_RECORDS: usize = 1024;
/// No sealed block reaches across a slice of its table partition, so that a page that begins within the partition looks at the
/// blocks of a slice and not at all later ones. So many slices in one partition, none shorter than five rounds of sealing of two
/// minutes: each slice that a round touches costs a quiet service a block.
pub const SEALED_LEAF_SLICES_MAX: i64 = 256;
pub const SEALED_SLICE_US_MIN: i64 = 600_000_000;
/// Records that one round of sealing takes of what is fresh (and as many of what waits for a table partition), and their bytes.
pub const SEAL_ROUND_RECORDS_MAX: i64 = 2_000_000;
pub const SEAL_ROUND_BYTES_MAX: i64 = 1 << 30;
/// Memory that the buffers of a round's emptied leaves keep for the next leaves, and the bodies' part of one such buffer.
pub const SEAL_SPARE_BYTES_MAX: usize = 32 << 20;
pub const SEAL_SPARE_BUFFER_BYTES_MAX: usize = 4 << 20;
/// Memory of what the indexes of a round have gathered; above it the largest is coded.
pub const SEAL_INDEX_BYTES_MAX: usize = 32 << 20;
/// Unpacked bytes of bodies that one look of who follows takes (and one transaction above it); the next look goes on.
pub const FOLLOW_LOOK_BYTES_MAX: i64 = 32 << 20;
/// The same of a look that many readers share: each of them may keep what it wants of it.
pub const SHARED_LOOK_BYTES_MAX: i64 = 4 << 20;
/// Table partitions that the records of one round of sealing may be said to wait for; the next rounds say the rest.
pub const SEAL_WANTED_LEAVES_MAX: usize = 10_000;
/// Records that a reader accepts in a block, so that a damaged count allocates little.
pub const BLOCK_RECORDS_MAX: usize = 65_536;
/// Distinct tokens that a block's bloom filter has room for (2 bytes each); with more it says "perhaps" more often.
pub const BLOOM_TOKENS_MAX: usize = 65_536;
/// Distinct tokens with which a block is full: its bloom filter (2 bytes each) then lies in PostgreSQL's row (8 KiB), where a
/// search reads it at once; moved out of the row, each of a search's probes fetches it again.
pub const BLOCK_TOKENS_TARGET: usize = 3_840;
/// Unpacked bytes of bodies in a block at the most (one larger record is a block of its own).
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
/// A record's time may lie this far before the moment of storing, or as far as its class keeps records (known when it is sealed)...
pub const TIME_PAST_US_MAX: i64 = 30 * 86_400 * 1_000_000;
/// ...and this far after it; else it is replaced by that moment and flagged.
pub const TIME_FUTURE_US_MAX: i64 = 600 * 1_000_000;
/// Entries of a tenant's live feed in Redis.
pub const FEED_ENTRIES_MAX: usize = 10_000;
/// Bytes of a tenant slug, service, namespace, ... that are kept.
pub const NAME_BYTES_MAX: usize = 253;
/// Bytes of a stream's key: an index row of PostgreSQL holds it.
pub const STREAM_BYTES_MAX: usize = 1024;
/// Bytes of a plain file behind its checkpoint that an earlier agent may have sent, and that therefore keep its key.
pub const KEY_HANDOVER_BYTES_MAX: u64 = 64 << 20;
/// Holes that are remembered in what one topic partition brought of a file. Above it the lowest count as brought: what was told as a
/// loss there stays lost, even if it comes after all.
pub const WATERMARK_HOLES_MAX: usize = 64;
/// Days for which the watermark of a container's file has not moved before it may go.
pub const WATERMARK_QUIET_DAYS_MIN: u32 = 60;
/// Days after which a pod of which nothing came counts as gone.
pub const POD_QUIET_DAYS_MIN: u32 = 400;
/// Files of one container run that a node keeps (kubelet's `containerLogMaxFiles`, 5 where nobody set it): of one that has as many
/// newer ones nothing can come.
pub const LOG_FILES_MAX: u32 = 32;
/// Bytes of a file's path (Linux: `PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4096;
/// Bytes of a task's id; records with a longer one are in no task's log.
pub const TASK_ID_BYTES_MAX: usize = 256;
/// Bytes of a message in a task's log; what is above is cut there. The record itself keeps it.
pub const TASK_MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Bytes of the metadata of a line in a task's log; a longer one is left out there.
pub const TASK_METADATA_BYTES_MAX: usize = 64 << 10;
/// Namespaces, or tenants, about each of which the API server is asked for one question.
pub const ACCESS_NAMES_MAX: usize = 200;
/// Bytes of an answer of the identity provider: its keys, its addresses, a token. A longer one is no answer.
pub const ISSUER_ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes of a token that names a caller; a longer one names nobody.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Cookies of one session, of almost 4 KiB each: a token above 11 KiB has no room in them.
pub const SESSION_PIECES_MAX: usize = 4;
/// A ticket for a WebSocket is good for so many seconds...
pub const TICKET_SECONDS: i64 = 30;
/// ...and so many that were used are remembered so long; while they are as many, no other one is taken.
pub const TICKETS_USED_MAX: usize = 100_000;
/// Seconds between the way to the identity provider and the way back.
pub const LOGIN_SECONDS: i64 = 600;
/// Bytes of the path to which a login leads back.
pub const RETURN_PATH_BYTES_MAX: usize = 2_048;
/// Level rules of one namespace at the most...
pub const LEVEL_RULES_NAMESPACE_MAX: usize = 64;
/// ...and their bytes as JSON: the largest valid level config (87 KiB of labels) finds room alone.
pub const LEVEL_RULES_NAMESPACE_BYTES_MAX: usize = 96 << 10;
/// Cluster-wide level rules at the most...
pub const LEVEL_RULES_CLUSTER_MAX: usize = 128;
/// ...and their bytes as JSON.
pub const LEVEL_RULES_CLUSTER_BYTES_MAX: usize = 192 << 10;
/// Bytes of all level rules as JSON: they travel in one ConfigMap, which the API server takes up to 1 MiB.
pub const LEVEL_RULES_BYTES_MAX: usize = 768 << 10;
/// Of a tenant that a line itself names: as long as a label's value.
pub const LINE_TENANT_BYTES_MAX: usize = 63;
/// Bytes of what the operator remembers of namespaces' tenants, in one ConfigMap; what is above it is not remembered, nor told.
pub const TENANTS_KNOWN_BYTES_MAX: usize = 768 << 10;
/// Characters of a filter expression; a longer one is refused.
pub const FILTER_CHARACTERS_MAX: usize = 16_384;
/// Of one parameter of a request.
pub const PARAMETER_CHARACTERS_MAX: usize = FILTER_CHARACTERS_MAX;
/// Of the value of one field: an expression holds it, whatever has to be written before its characters.
pub const FIELD_CHARACTERS_MAX: usize = 8_000;
const _: () = assert!(2 * FIELD_CHARACTERS_MAX + 256 < FILTER_CHARACTERS_MAX);
/// Parentheses and NOTs within each other in a filter expression.
pub const FILTER_DEPTH_MAX: usize = 64;
/// LIKE and REGEXP in a filter expression. Each is compiled before anything is searched, into as much as the next limit.
pub const FILTER_PATTERNS_MAX: usize = 32;
/// Bytes of a compiled LIKE or REGEXP, and of what it remembers while it searches.
pub const FILTER_PATTERN_BYTES_MAX: usize = 1 << 20;
/// Stars in one piece of text: each makes a longer pattern of the one before.
pub const FILTER_STARS_MAX: usize = 32;
/// Bytes of a field's value that is counted apart in facets; a longer one is counted by its beginning.
pub const FACET_VALUE_BYTES_MAX: usize = 512;
/// Bytes of all values of one answer of facets that are counted apart; what comes later is among the others.
pub const FACETS_BYTES_MAX: usize = 16 << 20;
/// Bytes of a request's head, and of what is read and written of a connection at a time.
pub const HEAD_BYTES_MAX: usize = 128 << 10;
/// Characters of a request's id that a caller may give.
pub const REQUEST_ID_CHARS_MAX: usize = 128;
/// Bytes of one value (a filter, an address) in a record of who looked at what, as JSON writes it; a longer one is cut, and says so.
pub const AUDIT_VALUE_BYTES_MAX: usize = 1 << 10;
/// Bytes of all values of a question in such a record; what comes later is left out, and that is said.
pub const AUDIT_QUESTION_BYTES_MAX: usize = 4 << 10;
/// Bytes of what a changed resource says, as it was and as it is, in such a record; a longer one is left out, and that is said.
pub const AUDIT_SPEC_BYTES_MAX: usize = 32 << 10;
/// Names of one kind in such a record; of the others it is said how many they are.
pub const AUDIT_NAMES_MAX: usize = 20;
/// Of a statement of the gateway that has no limit of its own, milliseconds; PostgreSQL ends it then.
pub const GATEWAY_STATEMENT_MS_MAX: u32 = 60_000;
/// Parts of a caller's scope in such a record.
pub const AUDIT_PARTS_MAX: usize = 8;
/// Passes of the planner that a preview of a retention runs forward.
pub const RETENTION_PREVIEW_PASSES_MAX: usize = 1_000;
/// Pods whose level before a push the operator remembers, and the bytes that it takes for them: one ConfigMap has room for 1 MiB.
pub const PUSHED_PODS_MAX: usize = 2_000;
pub const PUSHED_BYTES_MAX: usize = 800 << 10;
/// Bytes of what an application answers to a push that are read.
pub const PUSH_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of one agent's `/status` that are read.
pub const AGENT_STATUS_BYTES_MAX: u64 = 8 << 20;
/// Characters of a text that an agent gives (its node, version, reasons of losses) that are shown.
pub const AGENT_TEXT_CHARS_MAX: usize = 256;
/// Reasons of losses that an agent counts apart; others are counted together.
pub const AGENT_LOSS_REASONS_MAX: usize = 16;
/// Bytes of the operator's answer about all agents that the gateway reads.
pub const AGENTS_BYTES_MAX: usize = 64 << 20;
/// Bytes of a resource that the HTTP API takes.
pub const RESOURCE_BYTES_MAX: usize = 256 << 10;
/// Bytes of a message, and of a stack, that are read for an error's signature; what is above changes nothing.
pub const SIGNATURE_READ_BYTES_MAX: usize = 64 << 10;
/// Bytes of a generalised message; a longer one is cut at a word.
pub const SIGNATURE_MESSAGE_BYTES_MAX: usize = 512;
/// Signatures that a writer counts apart for one tenant within a minute of storing; records of others count under `v2:other`.
pub const SIGNATURES_PER_MINUTE_MAX: usize = 256;
/// The same of all tenants: what a writer remembers.
pub const SIGNATURES_ALL_PER_MINUTE_MAX: usize = 65_536;
/// Tenants, and services, that are named of one group of errors; it says when there are more.
pub const GROUP_NAMES_MAX: usize = 100;
/// Bytes of an error's type, of a frame's name, and of a fingerprint that a body names.
pub const SIGNATURE_NAME_BYTES_MAX: usize = 256;

const _: () =
    assert!(LEVEL_RULES_CLUSTER_BYTES_MAX + 4 * LEVEL_RULES_NAMESPACE_BYTES_MAX <= LEVEL_RULES_BYTES_MAX);
const _: () = assert!(LEVEL_RULES_BYTES_MAX + (64 << 10) <= 1 << 20);
const _: () = assert!(RECORD_BYTES_MAX < LINE_BYTES_MAX);
const _: () = assert!(LINE_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(BATCH_RECORDS_MAX < MESSAGE_RECORDS_MAX);
const _: () = assert!(16 * NAME_BYTES_MAX + 3 * PATH_BYTES_MAX < MESSAGE_BYTES_MIN / 2);
const _: () = assert!(NAME_BYTES_MAX + 128 < STREAM_BYTES_MAX);
// The key of a task's row, and of its lines with their source, fits PostgreSQL's index row (2,704 bytes).
const _: () = assert!(TASK_ID_BYTES_MAX + 2 * NAME_BYTES_MAX + 256 < 2_048);
// So does the key of a group of errors.
const _: () = assert!(TASK_ID_BYTES_MAX + 3 * NAME_BYTES_MAX + 256 < 2_048);
const _: () = assert!(BATCH_BYTES_TARGET < MESSAGE_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_TARGET <= BLOCK_BYTES_MAX);
const _: () = assert!(ANSWER_PACKED_BYTES_MAX * (128 << 10) / 4 <= 128 << 20);
const _: () = assert!(SEALED_BLOCK_RECORDS <= BLOCK_RECORDS_MAX);
const _: () = assert!(BLOCK_TOKENS_TARGET < BLOOM_TOKENS_MAX);
const _: () = assert!(BLOCK_BYTES_MAX <= RECORD_BYTES_MAX && RECORD_BYTES_MAX <= u32::MAX as usize);
