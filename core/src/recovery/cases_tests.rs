//! What has gone wrong with writers, and what follows. Each case: what happened, one line after the other, and what the writer does then.
//!
//! A line reads `event -> what follows`. Events: `start`, `reassigned`, `begun`, `not begun`, `not begun, hopeless`, `committed`,
//! `take P:O` (the message of topic partition P at Kafka offset O), and failures: `CAUSE N to P:O [P:O] [late]` for N messages after which the
//! positions would have been these. What follows: `go` or `begin CAUSE [after N ms] [with its lane]`, or `give up`; then what holds: `alone` (the
//! next message is a transaction of its own), `dead letter` (the message taken), `half`, `quarter` (size of a transaction), `told` (probes say that
//! PostgreSQL cannot be counted on).

use std::collections::{HashMap, HashSet};

use super::{Cause, Failure, Next, Recovery};

const CASES: &[(&str, &str)] = &[
    (
        "the writer starts, or was killed and starts again",
        "start -> begin start
         begun -> go
         committed -> go",
    ),
    (
        "PostgreSQL is away when the writer starts",
        "start -> begin start
         not begun -> begin start after 100 ms, told
         not begun -> begin start after 200 ms, told
         not begun -> begin start after 400 ms, told
         begun -> go",
    ),
    (
        "PostgreSQL is away for long: the pause has an upper bound",
        "start -> begin start
         not begun -> begin start after 100 ms, told
         not begun -> begin start after 200 ms, told
         not begun -> begin start after 400 ms, told
         not begun -> begin start after 800 ms, told
         not begun -> begin start after 1600 ms, told
         not begun -> begin start after 3200 ms, told
         not begun -> begin start after 5000 ms, told
         not begun -> begin start after 5000 ms, told
         begun -> go
         committed -> go",
    ),
    (
        "the database belongs to another topic",
        "start -> begin start
         not begun, hopeless -> give up, told",
    ),
    (
        "PostgreSQL goes while nothing is on its way, and watermarks are to be read",
        "begun -> go
         postgres 3 to 0:13 -> begin postgres after 200 ms, told
         not begun -> begin postgres after 100 ms, told
         begun -> go, told
         committed -> go",
    ),
    (
        "watermarks cannot be read, and the transaction before is committed meanwhile",
        "begun -> go
         postgres 3 to 0:13 -> begin postgres after 200 ms, told
         committed -> begin postgres
         begun -> go",
    ),
    (
        "the session is ended in the middle of a COPY",
        "begun -> go
         postgres 5 to 0:15 -> begin postgres after 200 ms, told
         begun -> go, told
         committed -> go",
    ),
    (
        "the disk is full: the session opens, each transaction fails",
        "begun -> go
         postgres 5 to 0:15 -> begin postgres after 200 ms, told
         begun -> go, told
         postgres 5 to 0:15 -> begin postgres after 400 ms, told
         begun -> go, told
         postgres 5 to 0:15 -> begin postgres after 800 ms, told
         begun -> go, told
         postgres 5 to 0:15 -> begin postgres after 1600 ms, told
         begun -> go, told
         postgres 5 to 0:15 -> begin postgres after 3200 ms, told
         begun -> go, told
         postgres 5 to 0:15 -> begin postgres after 5000 ms, told
         begun -> go, told
         postgres 5 to 0:15 -> begin postgres after 5000 ms, told
         begun -> go, told
         committed -> go",
    ),
    (
        "after failures that are over the pause is short again",
        "begun -> go
         postgres 5 to 0:15 -> begin postgres after 200 ms, told
         begun -> go, told
         postgres 5 to 0:15 -> begin postgres after 400 ms, told
         begun -> go, told
         committed -> go
         postgres 5 to 0:20 -> begin postgres after 200 ms, told",
    ),
    (
        "COMMIT was sent and its answer lost; PostgreSQL does not have it",
        "begun -> go
         unknown 5 to 0:15 -> begin unknown after 200 ms, told
         begun 0:10 -> go, told
         committed -> go",
    ),
    (
        "a failover loses transactions: positions go back, and messages come again",
        "begun 0:10 -> go
         committed -> go
         unknown 5 to 0:20 -> begin unknown after 200 ms, told
         not begun -> begin unknown after 100 ms, told
         begun 0:5 -> go, told
         committed -> go",
    ),
    (
        "PostgreSQL takes bytes and never answers: the transaction may be too large",
        "begun -> go
         unknown 5 to 0:15 late -> begin unknown after 200 ms, half, told
         begun 0:10 -> go, half, told
         postgres 5 to 0:15 late -> begin postgres after 400 ms, quarter, told
         begun 0:10 -> go, quarter, told
         committed -> go, quarter",
    ),
    (
        "the group is rebalanced: the lane is kept",
        "begun -> go
         reassigned -> begin assigned with its lane
         begun -> go",
    ),
    (
        "the group is rebalanced while a transaction is on its way, which is committed",
        "begun -> go
         reassigned -> begin assigned with its lane
         committed -> begin assigned with its lane
         begun -> go",
    ),
    (
        "the group is rebalanced while a transaction is on its way, which another writer fences",
        "begun -> go
         reassigned -> begin assigned with its lane
         fenced 5 to 0:15 -> begin assigned with its lane
         begun -> go",
    ),
    (
        "the group is rebalanced while a transaction is on its way, which fails: it may be another writer's now",
        "begun -> go
         reassigned -> begin assigned with its lane
         postgres 5 to 0:15 -> begin assigned with its lane
         begun -> go",
    ),
    (
        "the group is rebalanced and PostgreSQL is away: the lane is not kept for long",
        "begun -> go
         reassigned -> begin assigned with its lane
         not begun -> begin assigned after 100 ms, told
         begun -> go",
    ),
    (
        "what failed is another writer's after a rebalance, and nothing may ever be committed here",
        "begun -> go
         postgres 5 to 0:15 -> begin postgres after 200 ms, told
         begun -> go, told
         reassigned -> begin assigned with its lane, told
         begun -> go",
    ),
    (
        "Kafka does not have the position, or the topic was created again: the source stops the topic partition, and looks again later",
        "begun -> go
         reassigned -> begin assigned with its lane
         begun -> go
         reassigned -> begin assigned with its lane
         begun -> go",
    ),
    (
        "a message did not arrive: it is fetched again",
        "begun -> go
         take 0:14 -> go
         reassigned -> begin assigned with its lane
         begun -> go
         take 0:11 -> go",
    ),
    (
        "a zombie, or a second writer of the topic partition: it is fenced, at once and with another lane",
        "begun -> go
         fenced 5 to 0:15 -> begin fenced
         begun -> go
         fenced 5 to 0:20 -> begin fenced
         begun -> go
         committed -> go",
    ),
    (
        "the partitions were raised: another writer stored a part of the file, the watermarks are read again at once",
        "begun -> go
         overlap 5 to 1:15 -> begin overlap
         begun -> go
         committed -> go",
    ),
    (
        "another session used the lane's number",
        "begun -> go
         lane 5 to 0:15 -> begin lane after 200 ms, told
         begun -> go, told
         committed -> go",
    ),
    (
        "records that come again, and messages that cannot be decoded, are no failures",
        "begun -> go
         take 0:10 -> go
         committed -> go
         take 0:10 -> go
         committed -> go",
    ),
    (
        "one message that PostgreSQL refuses, by itself",
        "begun -> go
         take 0:10 -> go
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone, dead letter
         committed -> go, alone
         take 0:11 -> go, alone",
    ),
    (
        "one of many: they travel one by one until it is found",
        "begun -> go
         refused 3 to 0:13 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone
         committed -> go, alone
         take 0:11 -> go, alone
         refused 1 to 0:12 -> begin refused, alone
         begun -> go, alone
         take 0:11 -> go, alone, dead letter
         committed -> go, alone
         take 0:12 -> go, alone
         committed -> go, alone",
    ),
    (
        "the first of many",
        "begun -> go
         refused 3 to 0:13 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone, dead letter
         committed -> go, alone",
    ),
    (
        "several side by side",
        "begun -> go
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone, dead letter
         committed -> go, alone
         take 0:11 -> go, alone
         refused 1 to 0:12 -> begin refused, alone
         begun -> go, alone
         take 0:11 -> go, alone, dead letter
         committed -> go, alone",
    ),
    (
        "PostgreSQL refuses the dead letter too: it is the database that is at fault, and nothing is dropped",
        "begun -> go
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone, dead letter
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone, dead letter
         refused 1 to 0:11 -> begin refused after 800 ms, alone, told
         begun -> go, alone, told",
    ),
    (
        "PostgreSQL goes before the dead letter is committed: it is one the next time too",
        "begun -> go
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone, dead letter
         postgres 1 to 0:11 -> begin postgres after 400 ms, alone, told
         begun -> go, alone, told
         take 0:10 -> go, alone, told, dead letter
         committed 0:11 -> go, alone
         take 0:10 -> go, alone",
    ),
    (
        "the refused message is another writer's after a rebalance",
        "begun -> go
         refused 1 to 0:11 -> begin refused, alone
         reassigned -> begin refused, alone
         begun -> go, alone
         take 1:10 -> go, alone
         committed -> go, alone",
    ),
    (
        "two messages of two topic partitions, in whichever order they come again",
        "begun -> go
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 1:20 -> go, alone
         refused 1 to 1:21 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone, dead letter
         committed -> go, alone
         take 1:20 -> go, alone, dead letter
         committed -> go, alone",
    ),
    (
        "a dead letter is taken while a transaction is on its way that another message breaks",
        "begun -> go
         refused 1 to 1:21 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone
         take 1:20 -> go, alone, dead letter
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 1:20 -> go, alone, dead letter
         take 0:10 -> go, alone, dead letter
         committed 1:21 -> go, alone
         committed 0:11 -> go, alone",
    ),
    (
        "COMMIT was sent and its answer lost; PostgreSQL has it, and nothing follows",
        "begun 0:10 -> go
         unknown 5 to 0:15 -> begin unknown after 200 ms, told
         begun 0:15 -> go",
    ),
    (
        "COMMIT was sent and its answer lost; PostgreSQL has it in one of two topic partitions: somebody else brought it there",
        "begun 0:10 1:10 -> go
         unknown 5 to 0:15 1:12 -> begin unknown after 200 ms, told
         begun 0:15 1:10 -> go, told",
    ),
    (
        "COMMIT was sent and its answer lost; it is decided after the positions were read",
        "begun 0:10 -> go
         unknown 5 to 0:15 -> begin unknown after 200 ms, told
         begun 0:10 -> go, told
         fenced 5 to 0:15 -> begin fenced after 200 ms, told
         begun 0:15 -> go",
    ),
    (
        "the first transaction of all: its answer is lost, and PostgreSQL does not have it",
        "begun -> go
         unknown 5 to 0:5 -> begin unknown after 200 ms, told
         begun -> go, told
         committed -> go",
    ),
    (
        "a failed transaction's messages are stored by the writer that has them now",
        "begun 0:10 -> go
         postgres 5 to 0:15 -> begin postgres after 200 ms, told
         begun 0:17 -> go",
    ),
    (
        "more blocks than a transaction can hold, in one message: it is never sent, and a dead letter",
        "begun -> go
         refused 2 to 0:12 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone
         refused 1 to 0:11 -> begin refused, alone
         begun -> go, alone
         take 0:10 -> go, alone, dead letter",
    ),
];

/// A message's place, or a topic partition and its next Kafka offset.
fn at(text: &str) -> (u32, u64) {
    let (topic_partition, offset) = text.split_once(':').expect("P:O");
    (topic_partition.parse().expect("a topic partition"), offset.parse().expect("a Kafka offset"))
}

fn failure(words: &[&str]) -> Failure {
    let cause = match words[0] {
        "fenced" => Cause::Fenced,
        "overlap" => Cause::Overlap,
        "lane" => Cause::Lane,
        "unknown" => Cause::Unknown,
        "refused" => Cause::Refused,
        "postgres" => Cause::Unavailable,
        other => panic!("no event: {other}"),
    };
    Failure {
        cause,
        why: "why".to_owned(),
        took_too_long: words.contains(&"late"),
        messages: words[1].parse().expect("messages"),
        next_offsets: words.iter().filter(|word| word.contains(':')).map(|word| at(word)).collect(),
    }
}

/// Lets it happen; says what follows.
fn after(recovery: &mut Recovery, event: &str) -> String {
    let mut dead_letter = None;
    match &event.split(' ').collect::<Vec<_>>()[..] {
        ["start"] => {}
        ["reassigned"] => recovery.reassigned(),
        ["begun", places @ ..] => {
            let positions: HashMap<u32, u64> = places.iter().map(|place| at(place)).collect();
            recovery.begun(|topic_partition| positions.get(&topic_partition).copied());
        }
        ["not", "begun"] => recovery.not_begun("why".to_owned(), false),
        ["not", "begun,", "hopeless"] => recovery.not_begun("why".to_owned(), true),
        ["committed", places @ ..] => {
            recovery.committed(&places.iter().map(|place| at(place)).collect::<Vec<_>>());
        }
        ["take", place] => dead_letter = recovery.take_poison(at(place)),
        words => recovery.failed(failure(words)),
    }
    let mut follows = match recovery.what_next() {
        Next::GoOn => "go".to_owned(),
        Next::Begin { pause_ms, keeps_lane } => {
            let pause = if pause_ms == 0 { String::new() } else { format!(" after {pause_ms} ms") };
            let lane = if keeps_lane { " with its lane" } else { "" };
            format!("begin {}{pause}{lane}", recovery.due().expect("it is due").name())
        }
        Next::GiveUp(_) => "give up".to_owned(),
    };
    let whole = 1 << 10;
    for (holds, word) in [
        (recovery.travels_alone(), "alone"),
        (recovery.size().of(whole) == whole / 2, "half"),
        (recovery.size().of(whole) == whole / 4, "quarter"),
        (recovery.trouble().is_some(), "told"),
        (dead_letter.is_some(), "dead letter"),
    ] {
        if holds {
            follows = format!("{follows}, {word}");
        }
    }
    follows
}

#[test]
fn what_follows_from_each_fault() {
    let mut faults = Vec::new();
    for (name, story) in CASES {
        let mut recovery = Recovery::default();
        for (place, line) in story.lines().enumerate() {
            let (event, wanted) = line.trim().split_once(" -> ").expect("event -> what follows");
            let follows = after(&mut recovery, event);
            if follows != wanted {
                faults.push(format!("{name}, line {}: {event} -> {follows}, wanted {wanted}", place + 1));
                break;
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_case_stands_twice() {
    let names: HashSet<&str> = CASES.iter().map(|(name, _)| *name).collect();
    let stories: HashSet<&str> = CASES.iter().map(|(_, story)| *story).collect();
    assert_eq!((names.len(), stories.len()), (CASES.len(), CASES.len()));
}
