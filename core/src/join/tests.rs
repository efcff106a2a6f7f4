use proptest::prelude::*;

use super::*;

/// Pushes `(io, partial, content)` as lines of 100 bytes each; shows what comes out as `io start-end flags content`.
fn run(join: &mut Join, parts: &[(OutputStream, bool, &str)]) -> Vec<String> {
    let mut out = Vec::new();
    for (index, (io, partial, content)) in parts.iter().enumerate() {
        let start = index as u64 * 100;
        let joined = join.push(*io, *partial, index as i64, content.as_bytes(), start, start + 100);
        out.extend(joined.map(|joined| show(&joined)));
    }
    out
}

fn show(joined: &Joined<'_>) -> String {
    let content = String::from_utf8_lossy(&joined.content);
    let Joined { io, time_ns, start, end, flags, .. } = joined;
    format!("{} t{time_ns} {start}-{end} f{} {content}", io.as_str(), flags.0)
}

use OutputStream::{Stderr, Stdout};

#[test]
fn parts_of_one_stream() {
    let mut join = Join::new();
    let parts = [
        (Stdout, false, "a"),
        (Stdout, true, "b"),
        (Stdout, true, "c"),
        (Stdout, false, "d"),
        (Stdout, false, "e"),
    ];
    assert_eq!(
        run(&mut join, &parts),
        ["stdout t0 0-100 f0 a", "stdout t1 100-400 f0 bcd", "stdout t4 400-500 f0 e"]
    );
    assert_eq!(join.pending_start(Stdout), None);
}

#[test]
fn stdout_and_stderr_interleave() {
    let mut join = Join::new();
    let parts = [
        (Stdout, true, "o1"),
        (Stderr, true, "e1"),
        (Stdout, true, "o2"),
        (Stderr, false, "e2"),
        (Stderr, false, "e3"),
        (Stdout, false, "o3"),
    ];
    assert_eq!(
        run(&mut join, &parts),
        ["stderr t1 100-400 f0 e1e2", "stderr t4 400-500 f0 e3", "stdout t0 0-600 f0 o1o2o3"]
    );
}

#[test]
fn a_character_split_across_parts_is_whole_again() {
    let mut join = Join::new();
    join.push(Stdout, true, 0, b"caf\xc3", 0, 10);
    let joined = join.push(Stdout, false, 0, b"\xa9", 10, 20).unwrap();
    assert_eq!(std::str::from_utf8(&joined.content), Ok("café"));
}

#[test]
fn what_is_pending_is_known() {
    let mut join = Join::new();
    run(&mut join, &[(Stderr, true, "e"), (Stdout, true, "out")]);
    assert_eq!((join.pending_start(Stderr), join.pending_bytes()), (Some(0), 4));
    assert_eq!(join.pending_start(Stdout), Some(100));
    assert_eq!(join.flush(Stderr).map(|joined| show(&joined)).unwrap(), "stderr t0 0-100 f32 e");
    assert_eq!((join.pending_start(Stderr), join.pending_start(Stdout)), (None, Some(100)));
    assert_eq!(join.flush(Stderr), None);
    // An end that follows after all is a record of its own.
    let late = join.push(Stderr, false, 9, b"late", 300, 400).unwrap();
    assert_eq!(show(&late), "stderr t9 300-400 f0 late");
}

#[test]
fn empty_parts_count_as_parts() {
    let mut join = Join::new();
    let parts = [(Stdout, true, ""), (Stdout, false, ""), (Stdout, false, "")];
    assert_eq!(run(&mut join, &parts), ["stdout t0 0-200 f0 ", "stdout t2 200-300 f0 "]);
}

#[test]
fn what_is_too_long_is_cut_and_counted() {
    let mut join = Join::new();
    let part = vec![b'x'; 16 << 10];
    let parts = RECORD_BYTES_MAX / part.len() + 3;
    for index in 0..parts as u64 {
        assert_eq!(join.push(Stdout, true, 0, &part, index, index + 1), None);
        assert!(join.pending_bytes() <= RECORD_BYTES_MAX);
    }
    let joined = join.push(Stdout, false, 0, b"end", 1000, 2000).unwrap();
    assert_eq!(joined.content.len(), RECORD_BYTES_MAX);
    assert_eq!(joined.bytes_cut, (parts * part.len() - RECORD_BYTES_MAX + 3) as u64);
    assert_eq!((joined.flags, joined.start, joined.end), (Flags::TRUNCATED, 0, 2000));
    assert_eq!(join.pending_bytes(), 0);

    let line = vec![b'y'; RECORD_BYTES_MAX + 1];
    let joined = join.push(Stdout, false, 0, &line, 0, 1).unwrap();
    assert_eq!(
        (joined.content.len(), joined.bytes_cut, joined.flags),
        (RECORD_BYTES_MAX, 1, Flags::TRUNCATED)
    );
    let whole = join.push(Stdout, false, 0, &line[1..], 0, 1).unwrap();
    assert_eq!((whole.content.len(), whole.flags), (RECORD_BYTES_MAX, Flags::default()));
}

proptest! {
    /// However records are cut into parts and mixed with the other stream's, each comes out whole and in its stream's order.
    #[test]
    fn any_cutting_gives_the_same_records(
        records in prop::collection::vec((any::<bool>(), prop::collection::vec("[a-zé]{0,4}", 1..5)), 0..12),
        picks in prop::collection::vec(any::<bool>(), 64),
    ) {
        let mut queues = [Vec::new(), Vec::new()];
        let mut expected = [Vec::new(), Vec::new()];
        for (stderr, parts) in &records {
            let of = usize::from(*stderr);
            expected[of].push(parts.concat());
            let last = parts.len() - 1;
            queues[of].extend(parts.iter().enumerate().map(|(index, part)| (index < last, part.clone())));
        }
        let mut join = Join::new();
        let mut seen = [Vec::new(), Vec::new()];
        let (mut next, mut picks, mut position) = ([0, 0], picks.into_iter().cycle(), 0u64);
        while next[0] < queues[0].len() || next[1] < queues[1].len() {
            let wish = usize::from(picks.next().unwrap());
            let of = if next[wish] < queues[wish].len() { wish } else { 1 - wish };
            let (partial, part) = &queues[of][next[of]];
            next[of] += 1;
            let io = if of == 0 { Stdout } else { Stderr };
            if let Some(joined) = join.push(io, *partial, 0, part.as_bytes(), position, position + 1) {
                prop_assert_eq!(joined.end, position + 1);
                seen[of].push(String::from_utf8(joined.content.into_owned()).unwrap());
            }
            position += 1;
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!((join.pending_start(Stdout), join.pending_start(Stderr)), (None, None));
    }
}
