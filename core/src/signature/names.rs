//! Names of machines and of what they send: addresses, hosts, mail addresses, UUIDs, trace contexts, of a whole word.

#[inline]
pub fn is_uuid(word: &[u8]) -> bool {
    word.len() == 36
        && word.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `00-<32 hexadecimal digits>-<16>-<2>` (W3C Trace Context).
#[inline]
pub fn is_traceparent(word: &[u8]) -> bool {
    word.len() == 55
        && word.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Six pairs of hexadecimal digits.
#[inline]
pub fn is_mac(word: &[u8]) -> bool {
    word.len() == 17
        && matches!(word[2], b':' | b'-')
        && word.iter().enumerate().all(|(at, byte)| match at % 3 {
            2 => *byte == word[2],
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Four numbers of a byte each; what follows them (a port, the bits of a network) is its as well.
pub fn ipv4(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        let digits = text.iter().skip(at).take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let value =
            text[at..at + digits].iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
        if !matches!(digits, 1..=3) || value > 255 {
            return None;
        }
        at += digits;
        if part < 3 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
    }
    let tail = match text.get(at) {
        Some(b':' | b'/') => {
            text.iter().skip(at + 1).take(6).take_while(|byte| byte.is_ascii_digit()).count()
        }
        _ => 0,
    };
    let end = if matches!(tail, 1..=5) { at + 1 + tail } else { at };
    let next = text.get(end);
    let goes_on = next.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        || (next == Some(&b'.') && text.get(end + 1).is_some_and(u8::is_ascii_digit));
    (!goes_on).then_some(end)
}

/// An IPv6 address, also with a zone, the bits of a network or an IPv4 tail. A path of Rust or C++ (`dead::beef`) has no digit.
pub fn is_ipv6(word: &[u8]) -> bool {
    if !(3..=64).contains(&word.len()) || !word.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let end = word.iter().position(|byte| matches!(byte, b'%' | b'/')).unwrap_or(word.len());
    let (mut groups, mut doubled) = (0, false);
    let mut rest = &word[..end];
    if let Some(after) = rest.strip_prefix(b"::") {
        (rest, doubled) = (after, true);
    }
    while !rest.is_empty() {
        if ipv4(rest) == Some(rest.len()) && rest.contains(&b'.') {
            groups += 2;
            break;
        }
        let digits = rest.iter().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
        if !matches!(digits, 1..=4) {
            return false;
        }
        groups += 1;
        rest = &rest[digits..];
        if let Some(after) = rest.strip_prefix(b"::") {
            if doubled {
                return false;
            }
            (rest, doubled) = (after, true);
        } else if let Some(after) = rest.strip_prefix(b":") {
            if after.is_empty() {
                return false;
            }
            rest = after;
        } else if !rest.is_empty() {
            return false;
        }
    }
    if doubled { groups <= 7 } else { groups == 8 }
}

pub fn is_email(word: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'@', word) else { return false };
    let (local, domain) = (&word[..at], &word[at + 1..]);
    let is_local =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-');
    !local.is_empty()
        && local.iter().all(is_local)
        && labels(domain).is_some_and(|top| top.iter().all(u8::is_ascii_alphabetic))
}

/// The last label of a dotted name of two labels or more.
fn labels(name: &[u8]) -> Option<&[u8]> {
    let is_label = |label: &[u8]| {
        !label.is_empty() && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    let mut parts = name.split(|byte| *byte == b'.');
    let last = name.rsplit(|byte| *byte == b'.').next()?;
    (last.len() >= 2 && last.len() < name.len() && parts.all(is_label)).then_some(last)
}

/// A host's name with its port: its last label is one of those that networks have, or it has three and a port. A dotted name of a
/// program (`kafka.log.LogManager`, `os.path`) is none.
pub fn is_host(word: &[u8]) -> bool {
    const TOPS: [&str; 26] = [
        "com",
        "org",
        "net",
        "io",
        "dev",
        "app",
        "cloud",
        "local",
        "internal",
        "svc",
        "cluster",
        "lan",
        "localdomain",
        "edu",
        "gov",
        "eu",
        "de",
        "uk",
        "fr",
        "nl",
        "ch",
        "ru",
        "cn",
        "jp",
        "us",
        "info",
    ];
    let (name, port) = match memchr::memrchr(b':', word) {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    };
    if port.is_some_and(|port| !matches!(port.len(), 1..=5) || !port.iter().all(u8::is_ascii_digit)) {
        return false;
    }
    if name == b"localhost" {
        return true;
    }
    if name.len() > 253 || name.iter().any(u8::is_ascii_uppercase) {
        return false;
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    let Some(top) = labels(name) else { return false };
    let letters = name.iter().any(u8::is_ascii_alphabetic);
    let dots = name.iter().filter(|byte| **byte == b'.').count();
    TOPS.iter().any(|known| known.as_bytes() == top)
        || (port.is_some() && dots >= 2 && letters && top.iter().all(u8::is_ascii_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::{ipv4, is_email, is_host, is_ipv6, is_mac};

    #[test]
    fn addresses_and_what_looks_like_them() {
        for (word, is) in [
            ("::1", true),
            ("fe80::1", true),
            ("2001:db8::8a2e:370:7334", true),
            ("2001:db8:0:0:0:0:0:1", true),
            ("::ffff:10.0.0.1", true),
            ("fe80::1%eth0", true),
            ("dead::beef", false),
            ("Some::method", false),
            ("::", false),
            ("1:2:3", false),
            ("00:1b:44:11:3a:b7", false),
            ("a::1::b", false),
            ("1::", true),
        ] {
            assert_eq!(is_ipv6(word.as_bytes()), is, "{word}");
        }
        assert!(
            is_mac(b"00:1b:44:11:3a:b7") && is_mac(b"00-1B-44-11-3A-B7") && !is_mac(b"00:1b:44:11:3a-b7")
        );
        for (text, end) in [
            ("10.0.0.1", Some(8)),
            ("10.0.0.1:8080", Some(13)),
            ("10.0.0.0/8", Some(10)),
            ("10.0.0.256", None),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
        ] {
            assert_eq!(ipv4(text.as_bytes()), end, "{text}");
        }
        for (word, is) in [
            ("db-1.prod.svc.cluster.local", true),
            ("example.com:443", true),
            ("localhost:8080", true),
            ("kafka.log.LogManager", false),
            ("stats.go:143", false),
            ("order.total", false),
            ("a.b.c:80", false),
            ("db.prod.shop:5432", true),
        ] {
            assert_eq!(is_host(word.as_bytes()), is, "{word}");
        }
        assert!(is_email(b"jo.doe+x@shop.example.com") && !is_email(b"npm@11.19.1") && !is_email(b"a@b"));
    }
}
