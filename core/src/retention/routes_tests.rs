//! Tables and properties of routing.

use super::*;

const DAY_US: i64 = 86_400_000_000;

fn policy(name: &str, priority: i32, matches: Match, error_days: i64) -> Policy {
    let mut policy = Policy::builtin();
    policy.name = name.to_owned();
    policy.priority = priority;
    policy.matches = matches;
    policy.retention_us.error = error_days * DAY_US;
    policy
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn classes(policies: &[Policy]) -> Vec<Class> {
    let mut classes = Vec::new();
    for policy in policies {
        for level in PolicyLevel::ALL {
            classes.push(Class {
                id: ClassId(classes.len() as i32 + 1),
                policy: policy.name.clone(),
                policy_uid: String::new(),
                level,
                retention_us: *policy.retention_us.get(level),
                grace_us: policy.grace_us,
                legal_hold: false,
                wanted: None,
                approved: None,
                has_table: true,
            });
        }
    }
    classes
}

#[test]
fn the_policy_that_fits_best_wins() {
    let policies = [
        Policy::builtin(),
        policy("shops", 10, Match { tenants: strings(&["shop-*"]), ..Match::default() }, 90),
        policy("audit", 20, Match { categories: vec![Category::Audit], ..Match::default() }, 365),
        policy("long", 10, Match { tenants: strings(&["shop-eu"]), ..Match::default() }, 120),
        policy("pay", 5, Match { namespaces: strings(&["pay", "bank-?"]), ..Match::default() }, 60),
    ];
    let classes = classes(&policies);
    let routes = Routes::compile(&policies, &classes);
    let name = |key: &RouteKey<'_>, level| {
        let id = routes.class_of(key, level).unwrap();
        classes.iter().find(|class| class.id == id).map(|class| (class.policy.clone(), class.level)).unwrap()
    };
    let key = |tenant, namespace, audit| RouteKey { tenant, namespace, service: "x", audit };
    let rows = [
        (key("other", "n", false), Level::Error, "default", PolicyLevel::Error),
        (key("other", "n", false), Level::Trace, "default", PolicyLevel::Debug),
        (key("shop-us", "n", false), Level::Warn, "shops", PolicyLevel::Warn),
        // Same priority: the longer retention of that level wins; equal there, the name.
        (key("shop-eu", "n", false), Level::Error, "long", PolicyLevel::Error),
        (key("shop-eu", "n", false), Level::Info, "long", PolicyLevel::Info),
        (key("shop-eu", "n", true), Level::Error, "audit", PolicyLevel::Error),
        (key("a", "bank-1", false), Level::Info, "pay", PolicyLevel::Info),
        (key("a", "bank-12", false), Level::Info, "default", PolicyLevel::Info),
        (key("shop-us", "pay", false), Level::Info, "shops", PolicyLevel::Info),
        (key("", "", false), Level::Info, "default", PolicyLevel::Info),
    ];
    for (key, level, policy, class_level) in rows {
        assert_eq!(name(&key, level), (policy.to_owned(), class_level), "{key:?} {level}");
    }
}

#[test]
fn the_default_takes_what_is_left_whatever_it_says() {
    let odd = policy(DEFAULT, 1000, Match { tenants: strings(&["nobody"]), ..Match::default() }, 1);
    let policies = [odd, policy("a", -5, Match { tenants: strings(&["a"]), ..Match::default() }, 1)];
    let routes = Routes::compile(&policies, &classes(&policies));
    let class = |tenant| {
        routes
            .class_of(&RouteKey { tenant, namespace: "", service: "", audit: false }, Level::Error)
            .unwrap()
            .0
    };
    assert_eq!((class("a"), class("b")), (8, 4));
}

#[test]
fn routes_survive_json() {
    let policies =
        [Policy::builtin(), policy("a", 3, Match { services: strings(&["a*"]), ..Match::default() }, 2)];
    let routes = Routes::compile(&policies, &classes(&policies));
    let json = serde_json::to_string(&routes).unwrap();
    let read: Routes = serde_json::from_str(&json).unwrap();
    assert_eq!(read, routes);
    let key = RouteKey { tenant: "t", namespace: "n", service: "api", audit: false };
    assert_eq!(read.class_of(&key, Level::Error), routes.class_of(&key, Level::Error));
    assert_eq!(read.targets(&key).error.unwrap().retention_us, 2 * DAY_US);
}

#[test]
fn bad_globs_are_refused_with_advice() {
    for glob in ["", "a b", "x';DROP TABLE blocks;--", "[a-z]", "{a,b}", "a\\*", "ä", &"a".repeat(254)] {
        assert!(check_glob(glob).is_err_and(|message| message.contains("wildcards")), "{glob}");
    }
    for glob in ["*", "shop-*", "team:a/b", "a?c", "user@corp"] {
        assert_eq!(check_glob(glob), Ok(()), "{glob}");
    }
}

#[test]
fn conflicts_are_pairs_that_can_meet() {
    let tenants = |globs: &[&str]| Match { tenants: strings(globs), ..Match::default() };
    let policies = [
        policy("a", 1, tenants(&["shop-*"]), 1),
        policy("b", 1, tenants(&["*-eu"]), 1),
        policy("c", 1, tenants(&["bank-*"]), 1),
        policy("d", 2, tenants(&["shop-*"]), 1),
        policy(
            "e",
            1,
            Match { tenants: strings(&["shop-1"]), categories: vec![Category::Audit], ..Match::default() },
            1,
        ),
    ];
    let names: Vec<_> =
        conflicts(&policies).into_iter().map(|(a, b)| format!("{}{}", a.name, b.name)).collect();
    assert_eq!(names, ["ab", "ae", "bc"]);
}

proptest::proptest! {
    /// The overlap of two globs against all short texts over a small alphabet.
    #[test]
    fn overlap_is_exact(a in "[ab*?]{0,4}", b in "[ab*?]{0,4}") {
        let matcher = |glob: &str| build_glob(glob).unwrap().compile_matcher();
        let (ma, mb) = (matcher(&a), matcher(&b));
        let mut texts = vec![String::new()];
        let mut some = false;
        for _ in 0..=8 {
            some |= texts.iter().any(|text| ma.is_match(text) && mb.is_match(text));
            texts = texts.iter().flat_map(|text| ["a", "b"].map(|c| format!("{text}{c}"))).collect();
        }
        proptest::prop_assert_eq!(globs_overlap(a.as_bytes(), b.as_bytes()), some);
    }
}
