//! Bad input through the whole pipeline: no panic, each stored as it was and flagged where it did not parse, the lines
//! beside it intact. What comes out is compared byte for byte.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::harness::{Folder, cri, now_us, pod_file, text};

/// What a pod's file holds between two good lines, and the bodies that must come out for it.
struct Row {
    name: &'static str,
    file: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    /// How many of the bodies are flagged as not parsed.
    unparsed: usize,
}

fn row(name: &'static str, file: impl Into<Vec<u8>>, bodies: &[&[u8]], unparsed: usize) -> Row {
    Row { name, file: file.into(), bodies: bodies.iter().map(|body| body.to_vec()).collect(), unparsed }
}

/// A line that is stored as it is.
fn as_it_is(name: &'static str, line: &[u8]) -> Row {
    row(name, [line, b"\n"].concat(), &[line], 1)
}

/// A good CRI line with this body.
fn body(name: &'static str, body: Vec<u8>) -> Row {
    Row { name, file: cri(now_us(), "stdout", "F", &body), bodies: vec![body], unparsed: 0 }
}

fn joined(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    parts.iter().flat_map(|(io, tag, content)| cri(now_us(), io, tag, content)).collect()
}

fn cri_rows() -> Vec<Row> {
    let euro = "€".as_bytes();
    let big = vec![b'b'; 10 << 20];
    vec![
        as_it_is("empty-line", b""),
        as_it_is("no-tag", b"2026-11-21T06:00:00.000000000Z stdout"),
        as_it_is("no-stream", b"2026-11-21T06:00:00.000000000Z"),
        as_it_is("unknown-stream", b"2026-11-21T06:00:00.000000000Z stdfoo F body"),
        as_it_is("bad-time", b"2026-13-41T06:00:00.000000000Z stdout F body"),
        as_it_is("no-time", b"just text without any of it"),
        row("tags", joined(&[("stdout", "P:x", b"one "), ("stdout", "F:y", b"two")]), &[b"one two"], 0),
        // Beyond what nanoseconds in 64 bits reach.
        as_it_is("year-9999", b"9999-12-31T23:59:59.999999999Z stdout F far"),
        as_it_is("year-0", b"0000-01-01T00:00:00.000000000Z stdout F long ago"),
        row("no-fraction", b"2026-11-21T06:00:00Z stdout F whole second\n".as_slice(), &[b"whole second"], 0),
        row("crlf", joined(&[("stdout", "F", b"dos\r")]), &[b"dos\r"], 0),
        row("nul", joined(&[("stdout", "F", b"a\0b")]), &[b"a\0b"], 0),
        row("not-utf8", joined(&[("stdout", "F", b"\xff\xfe\x80")]), &[b"\xff\xfe\x80"], 0),
        row(
            "split-character",
            joined(&[("stdout", "P", &euro[..1]), ("stdout", "F", &euro[1..])]),
            &[euro],
            0,
        ),
        row(
            "interleaved",
            joined(&[
                ("stdout", "P", b"o1"),
                ("stderr", "P", b"e1"),
                ("stdout", "F", b"o2"),
                ("stderr", "F", b"e2"),
            ]),
            &[b"o1o2", b"e1e2"],
            0,
        ),
        row("ten-megabytes", joined(&[("stdout", "F", &big)]), &[&big], 0),
        row("empty-content", joined(&[("stdout", "F", b"")]), &[b""], 0),
    ]
}

fn body_rows() -> Vec<Row> {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let deep_object = [b"{\"a\":".repeat(100_000), b"1".to_vec(), vec![b'}'; 100_000]].concat();
    let mut keys = b"{".to_vec();
    for key in 0..1_000_000 {
        keys.extend_from_slice(format!("\"{key:x}\":0,").as_bytes());
    }
    keys.pop();
    keys.push(b'}');
    let digits = format!("{{\"n\":{}}}", "9".repeat(300)).into_bytes();
    vec![
        body("depth-array", [b"{\"a\":".as_slice(), &deep, b"}"].concat()),
        body("depth-object", deep_object),
        body("million-keys", keys),
        body("duplicate-keys", br#"{"msg":"one","msg":"two","level":"warn","level":"error"}"#.to_vec()),
        body("nul-escape", br#"{"msg":"a\u0000b"}"#.to_vec()),
        body("lone-surrogate", br#"{"msg":"\ud800","x":"\udc00\ud800"}"#.to_vec()),
        body("huge-exponent", br#"{"msg":"x","n":1e999,"m":-1e-999}"#.to_vec()),
        body("digits", digits),
        body("claims", br#"{"msg":"mine","tenant":"other","tenantSlug":"other","kubernetes":{"namespace_name":"kube-system"}}"#.to_vec()),
        body("prototype", br#"{"__proto__":{"polluted":true},"constructor":1,"msg":"p"}"#.to_vec()),
        body("html", br#"<script>alert(1)</script>"#.to_vec()),
        body("ansi", b"\x1b[2J\x1b]8;;http://x\x07link\x1b]8;;\x07".to_vec()),
        body("half-json", br#"{"level":"error","msg":"cut"#.to_vec()),
    ]
}

fn through(rows: &[Row]) -> Result<()> {
    let folder = Folder::new()?;
    for row in rows {
        let mut file = cri(now_us(), "stdout", "F", format!("before {}", row.name).as_bytes());
        file.extend_from_slice(&row.file);
        file.extend_from_slice(&cri(now_us(), "stdout", "F", format!("after {}", row.name).as_bytes()));
        folder.write(&pod_file("pods", "shop", row.name, "app"), file)?;
    }
    let pods = folder.path("pods");
    let ran = folder.ok(&["standalone", "--pods-dir", text(&pods), "--tenant", "acme", "--until-idle"])?;
    ensure!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    for row in rows {
        let found = folder.raw(&["--pod", row.name])?;
        let mut expected = row.bodies.clone();
        expected.push(format!("before {}", row.name).into_bytes());
        expected.push(format!("after {}", row.name).into_bytes());
        ensure!(counts(&found) == counts(&expected), "{}: {}", row.name, shown(&found));
        // JSON and table say so of what did not parse, and fall over nothing.
        let records = folder.json(&["query", "--all", "-o", "json", "--pod", row.name])?;
        let flagged = records.iter().filter(|record| record["parseError"] == true).count();
        ensure!(flagged == row.unparsed, "{}: {flagged} flagged", row.name);
        ensure!(
            records.iter().all(|record| record["tenantSlug"] == "acme" && record["namespace"] == "shop"),
            "{}",
            row.name
        );
        let table = folder.ok(&["query", "--all", "--pod", row.name])?.stdout;
        let lines = table.iter().filter(|byte| **byte == b'\n').count();
        ensure!(lines == expected.len(), "{}: {lines} table lines", row.name);
    }
    let totals = folder.totals()?;
    ensure!(totals["lostBytes"] == 0 && totals["deadLetters"] == 0, "{totals}");
    Ok(())
}

fn counts(bodies: &[Vec<u8>]) -> BTreeMap<&[u8], usize> {
    let mut counts = BTreeMap::new();
    for body in bodies {
        *counts.entry(body.as_slice()).or_default() += 1;
    }
    counts
}

fn shown(bodies: &[Vec<u8>]) -> String {
    let heads = bodies.iter().map(|body| String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned());
    format!("{:?}", heads.collect::<Vec<_>>())
}

#[test]
fn bad_lines_are_stored_as_they_are_and_their_neighbours_are_intact() -> Result<()> {
    through(&cri_rows())
}

#[test]
fn bad_bodies_come_out_byte_for_byte() -> Result<()> {
    through(&body_rows())
}

#[test]
fn docker_lines_and_a_partial_line_across_a_rotation() -> Result<()> {
    let folder = Folder::new()?;
    let docker = "{\"log\":\"from docker\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-21T06:00:00.5Z\"}\n";
    folder.write(&pod_file("pods", "shop", "docker", "app"), docker)?;
    let file = pod_file("pods", "shop", "rotated", "app");
    let older = file.replace("0.log", "0.log.20261121-060000");
    folder.write(&older, joined(&[("stdout", "F", b"first"), ("stdout", "P", b"in the old file, ")]))?;
    folder.write(&file, joined(&[("stdout", "F", b"and in the new"), ("stdout", "F", b"last")]))?;
    let pods = folder.path("pods");
    folder.ok(&["standalone", "--pods-dir", text(&pods), "--until-idle"])?;
    ensure!(folder.raw(&["--pod", "docker"])? == [b"from docker"]);
    let found = folder.raw(&["--pod", "rotated"])?;
    let expected: [&[u8]; 3] = [b"first", b"in the old file, and in the new", b"last"];
    ensure!(found == expected, "{}", shown(&found));
    Ok(())
}
