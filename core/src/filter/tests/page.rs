//! Every example of docs/search.md.

use super::*;

const PAGE: &str = include_str!("../../../../docs/search.md");

/// The pieces between backticks.
fn codes(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(|code| code.replace("\\|", "|").replace('\u{241b}', "\u{1b}"))
        .collect()
}

/// Cells of the rows of tables with this head.
fn rows(head: &str) -> Vec<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        if line.starts_with('|') {
            inside |= line == head;
            if inside && line != head && !line.starts_with("|---") {
                let line = line.replace("\\|", "\u{1}");
                let cells =
                    line.trim_matches('|').split('|').map(|cell| codes(&cell.replace('\u{1}', "\\|")));
                rows.push(cells.collect());
            }
        } else {
            inside = false;
        }
    }
    rows
}

fn finds(expression: &str, body: &str) -> bool {
    let origin = Origin::default();
    let level = crate::fields::read(body.as_bytes()).level;
    parse(expression)
        .unwrap_or_else(|e| panic!("{expression}: {e}"))
        .matches(&record(&origin, level, body), &origin)
}

#[test]
fn what_the_page_finds_is_found() {
    let rows = rows("| filter | finds | does not find |");
    assert!(rows.len() > 70, "{} rows", rows.len());
    for row in rows {
        let [expressions, yes, no] = row.as_slice() else { panic!("{row:?}") };
        assert!(!expressions.is_empty() && yes.len() + no.len() > 0, "{row:?}");
        for expression in expressions {
            yes.iter().for_each(|body| assert!(finds(expression, body), "{expression} finds {body}"));
            no.iter().for_each(|body| assert!(!finds(expression, body), "{expression} does not find {body}"));
        }
    }
}

#[test]
fn what_the_page_refuses_is_refused() {
    let rows = rows("| refused | write |");
    assert!(rows.len() > 15, "{} rows", rows.len());
    for row in rows {
        let [refused, write] = row.as_slice() else { panic!("{row:?}") };
        let write = &write[0];
        parse(write).unwrap_or_else(|e| panic!("{write}: {e}"));
        for refused in refused {
            let error = parse(refused).expect_err(refused);
            // What to write is said as it is written, or the part of it that differs.
            let said = |part: &str| error.message.contains(part);
            let differs = write.split(' ').find(|part| !refused.contains(part)).unwrap_or(write);
            assert!(said(write) || said(differs), "{refused}: {error}");
        }
    }
}
