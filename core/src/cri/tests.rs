use super::*;

#[test]
fn a_full_line() {
    let line = parse(b"2026-11-21T02:24:31.123456789Z stdout F hello").unwrap();
    assert_eq!(line.content, b"hello");
    assert_eq!((line.io, line.partial), (Io::Stdout, false));
}
