use axum::http::Uri;
use cordwood_core::filter::parse;
use cordwood_core::level::Level;
use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};

use super::*;

const KNOWN: [&[&str]; 3] = [&FILTERS, &RANGE, &["limit", "budgetMs", "order", "after", "before"]];

fn read(query: &str) -> Result<Parameters, Problem> {
    Parameters::read(&format!("/x?{query}").parse::<Uri>().unwrap(), &KNOWN, DATA)
}

fn which(query: &str) -> Result<Which, Problem> {
    Which::take(&mut read(query)?, 1_800_000_000_000_000)
}

#[test]
fn parameters_ask_what_the_expression_asks() {
    let origin = Origin {
        namespace: "shop".into(),
        service: "check out".into(),
        tenant: "acme".into(),
        ..Origin::default()
    };
    let bodies = [
        r#"{"msg":"connection reset","orderId":7,"source":"api"}"#,
        r#"{"msg":"connection was reset","orderId":"a b","source":"db"}"#,
        "plain text",
    ];
    for (query, expression) in [
        ("", ""),
        ("text=connection+reset", "\"connection reset\""),
        ("text=connection&text=was", "connection was"),
        ("service=check%20out", "service=\"check out\""),
        ("source=api&source=db", "source IN (api, db)"),
        ("data.orderId=7", "data.orderId=7"),
        ("data.orderId=a+b", "data.orderId=\"a b\""),
        ("level=warn&level=error", "level=warn OR level=error"),
        ("minLevel=WARN", "level>=warn"),
        ("tenant=acme&namespace=shop", "tenant=acme namespace=shop"),
        ("filter=source:api+OR+plain&minLevel=info", "(source:api OR plain) level>=info"),
        ("category=audit", "category=audit"),
        ("category=system&stream=stdout", "category=system stream=stdout"),
    ] {
        let (asked, expected) = (which(query).unwrap().filter, parse(expression).unwrap());
        for (level, body) in Level::ALL.into_iter().zip(bodies.iter().cycle()) {
            for flags in [Flags::default(), Flags::AUDIT, Flags::STDERR] {
                let record = Record {
                    time_us: 5,
                    original_time_us: None,
                    level,
                    flags,
                    origin: origin.id(),
                    id: "0-1-2".parse().unwrap(),
                    body: body.as_bytes(),
                };
                let found = (asked.matches(&record, &origin), expected.matches(&record, &origin));
                assert_eq!(found.0, found.1, "{query}: {body}");
            }
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (query, parameter, words) in [
        ("lvl=warn", "lvl", "no such parameter"),
        ("level=loud", "level", "none of trace"),
        ("minLevel=", "minLevel", "none of trace"),
        ("minLevel=info&minLevel=warn", "minLevel", "twice"),
        ("service=", "service", "leave it out"),
        ("category=secret", "category", "audit"),
        ("filter=level%3E%3Dwran", "filter", "wran"),
        ("filter=%FF", "filter", "UTF-8"),
        ("service=a%00b", "service", "NUL"),
        ("from=yesterday", "from", "-15m"),
        ("from=now&to=-1h", "from", "not before"),
        ("data.=x", "data.", "filter"),
        ("data.a%22b=x", "data.a\"b", "quotation"),
        ("limit=0", "limit", "from 1 to 1000"),
        ("limit=1001", "limit", "from 1 to 1000"),
        ("limit=ten", "limit", "from 1 to 1000"),
        ("budgetMs=1", "budgetMs", "from 10"),
        ("order=up", "order", "newest"),
        ("after=1", "after", "id of a record"),
        ("after=1.0-1-1&before=2.0-1-1", "before", "exclude"),
    ] {
        let result = read(query).and_then(|mut parameters| {
            Which::take(&mut parameters, 1_800_000_000_000_000)?;
            place(&mut parameters)?;
            limit(&mut parameters)?;
            budget_ms(&mut parameters)
        });
        let problem = serde_json::to_value(result.unwrap_err()).unwrap();
        assert_eq!(problem["parameter"], parameter, "{query}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{query}: {problem}");
    }
    let many = "service=a&".repeat(101);
    assert!(read(&many).is_err());
    assert!(read(&format!("filter={}", "a".repeat(20 << 10))).is_err());
}

#[test]
fn a_mistake_in_a_filter_has_its_place() {
    let problem = serde_json::to_value(which("filter=level%3E%3Dwran+x&service=a").unwrap_err()).unwrap();
    assert_eq!(problem["position"], 7, "{problem}");
}

#[test]
fn parameters_beside_each_other_mean_what_each_means_alone() {
    let deep = format!("filter={}x{}", "(".repeat(63), ")".repeat(63));
    let long = format!("filter={}", "x+".repeat(8_000));
    for beside in [
        "service=s",
        "text=it's+x",
        "text=x'+y",
        "level=warn&level=error",
        "data.k=%22",
        "source=a'+b&source=c",
    ] {
        for filter in ["filter='x", "filter=x+'y", "filter=it's", "filter=x+OR+y", "filter=%5C", &deep, &long]
        {
            let (Ok(alone), Ok(other)) = (which(filter), which(beside)) else {
                assert!(which(filter).is_err() && which(&format!("{filter}&{beside}")).is_err(), "{filter}");
                continue;
            };
            let both = which(&format!("{filter}&{beside}"));
            let both = both.unwrap_or_else(|problem| {
                panic!("{beside}, {}: {}", &filter[..20.min(filter.len())], problem.detail())
            });
            let bodies = [
                "x",
                "y",
                "it's x",
                r#"{"msg":"x y it's","service":"s","k":"\"","source":"a' b"}"#,
                "x' y",
                "x) \"x",
            ];
            for (body, level) in bodies.into_iter().zip(Level::ALL.into_iter().cycle().skip(2)) {
                let origin = Origin { service: "s".into(), ..Origin::default() };
                let record = Record {
                    time_us: 5,
                    original_time_us: None,
                    level,
                    flags: Flags::default(),
                    origin: origin.id(),
                    id: "0-1-2".parse().unwrap(),
                    body: body.as_bytes(),
                };
                let expected =
                    alone.filter.matches(&record, &origin) && other.filter.matches(&record, &origin);
                let found = both.filter.matches(&record, &origin);
                assert_eq!(found, expected, "{filter} {beside}: {body}");
            }
        }
    }
}

#[test]
fn a_filter_cannot_break_out_of_its_parentheses() {
    assert!(which("filter=a)+OR+(b&service=x").is_err());
    assert!(which("service=a%22)+OR+(service:%22b").is_ok(), "it is a value");
}

#[test]
fn a_value_is_as_long_as_the_document_says() {
    // Each character has one more before it in an expression.
    for (name, characters) in [("text", 8_000), ("service", 8_000), ("data.x", 8_000)] {
        let value = |count: usize| format!("{name}=a{}", "%22".repeat(count - 1));
        assert!(which(&value(characters)).is_ok(), "{name}");
        assert_eq!(which(&value(characters + 1)).unwrap_err().at(), Some(name));
    }
    let long = |letter: &str, count: usize| format!("filter={}", letter.repeat(count));
    assert!(which(&long("x", 16_384)).is_ok());
    assert_eq!(which(&long("x", 16_385)).unwrap_err().at(), Some("filter"));
    // An address has at most 64 KiB.
    assert!(which(&long("%C3%A4", 10_000)).is_ok());
}
