//! Which config decides, what is done next, and what is said: without a cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::push::kept::Entry;
use crate::push::pods::seen;
use crate::push::ways::{Found, target};

const NOW_MS: i64 = 1_795_003_200_000;

fn pod(namespace: &str, name: &str, more: Value) -> SeenPod {
    let mut object = json!({
        "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}"),
                     "creationTimestamp": "2026-11-18T11:00:00Z", "labels": {"app": "checkout"}},
        "spec": {"containers": [{"name": "web"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7"},
    });
    for (key, value) in more.as_object().unwrap() {
        object["status"][key] = value.clone();
    }
    let pod: Pod = serde_json::from_value(object).unwrap();
    seen(&pod, false).unwrap()
}

fn want(id: &str, level: &str, created_ms: i64, port: u16) -> Want {
    let namespace = id.split_once('/').map(|(namespace, _)| namespace);
    let push: PushSpec = serde_json::from_value(json!({"zap": {"port": port}})).unwrap();
    let rule = json!({"id": id, "namespace": namespace, "level": level, "createdAtMs": created_ms});
    Want {
        uid: format!("uid-{id}"),
        rule: serde_json::from_value(rule).unwrap(),
        target: target(&push).unwrap(),
        push,
    }
}

fn entry(want: &Want, pod: &SeenPod, levels: &[Level], done: bool) -> Entry {
    Entry {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        target: want.target.clone(),
        config: want.uid.clone(),
        config_id: want.rule.id.clone(),
        before: Found::Level("info".to_owned()),
        levels: levels.to_vec(),
        starts: pod.starts,
        done,
    }
}

fn kept(entries: &[(&Want, Entry)]) -> Kept {
    let mut kept = Kept::default();
    entries.iter().for_each(|(want, entry)| kept.put(entry.clone(), &want.push).unwrap());
    kept
}

/// `pod level` of what is pushed, `pod back` of what is put back.
fn planned(assigned: &Assigned<'_>, kept: &Kept, tries: &Tries, is_whole: bool) -> Vec<String> {
    let (work, has_more) = work(assigned, kept, tries, is_whole, NOW_MS);
    assert!(!has_more);
    let each = work.iter().map(|one| match &one.what {
        What::Push { level, .. } => format!("{} {level}", one.pod),
        What::Restore { .. } => format!("{} back", one.pod),
    });
    each.collect()
}

#[test]
fn the_config_that_decides_is_the_one_whose_rule_does() {
    let none = BTreeSet::new();
    let pods = [pod("shop", "a", json!({}))];
    let deny = BTreeSet::from(["shop".to_owned()]);
    let own = want("shop/own", "ERROR", 5, 1);
    let newer = want("shop/newer", "WARN", 9, 1);
    let wide = want("wide", "DEBUG", 99, 1);
    let other_port = want("wide-2", "INFO", 99, 2);
    let bank = want("bank/x", "TRACE", 999, 1);
    for (wants, exempt, expected) in [
        (vec![&own, &wide], &none, vec!["a ERROR"]),
        (vec![&wide, &own, &newer], &none, vec!["a WARN"]),
        (vec![&wide, &bank], &none, vec!["a DEBUG"]),
        (vec![&wide, &bank], &deny, vec![]),
        // Another logger of the same pod is another matter.
        (vec![&own, &other_port], &none, vec!["a ERROR", "a INFO"]),
    ] {
        let wants: Vec<Want> = wants.into_iter().cloned().collect();
        let assigned = assign(&wants, &pods, exempt);
        assert_eq!(planned(&assigned, &Kept::default(), &Tries::default(), true), expected);
    }
    let wants = [own, wide];
    let assigned = assign(&wants, &pods, &none);
    let said = progress_of(&wants, &assigned, &Kept::default(), &Tries::default());
    assert_eq!((said["uid-shop/own"].waiting, said["uid-shop/own"].overruled), (1, 0));
    assert_eq!((said["uid-wide"].waiting, said["uid-wide"].overruled), (0, 1));
}

#[test]
fn a_logger_goes_from_to_push_to_restored() {
    let (none, tries) = (BTreeSet::new(), Tries::default());
    let (a, b) = (pod("shop", "a", json!({})), pod("shop", "b", json!({})));
    let restarted = pod(
        "shop",
        "a",
        json!({"containerStatuses": [
            {"name": "web", "image": "", "imageID": "", "ready": true, "restartCount": 1}
        ]}),
    );
    let error = want("shop/own", "ERROR", 5, 1);
    let warn = want("shop/own", "WARN", 5, 1);
    let another = want("wide", "ERROR", 5, 1);
    let is_done = entry(&error, &a, &[Level::Error], true);
    let is_not = entry(&error, &a, &[Level::Error], false);
    for (what, wants, pods, entries, expected) in [
        ("to push", vec![&error], vec![&a, &b], vec![], vec!["a ERROR", "b ERROR"]),
        ("told, but nobody knows whether it heard", vec![&error], vec![&a], vec![&is_not], vec!["a ERROR"]),
        ("pushed", vec![&error], vec![&a], vec![&is_done], vec![]),
        ("a pod that started later", vec![&error], vec![&a, &b], vec![&is_done], vec!["b ERROR"]),
        ("another level", vec![&warn], vec![&a], vec![&is_done], vec!["a WARN"]),
        ("started again", vec![&error], vec![&restarted], vec![&is_done], vec!["a ERROR"]),
        ("the next config takes over", vec![&another], vec![&a], vec![&is_done], vec!["a ERROR"]),
        ("to restore", vec![], vec![], vec![&is_done], vec!["a back"]),
        ("to restore what may have been told", vec![], vec![], vec![&is_not], vec!["a back"]),
        ("it matches no more", vec![&error], vec![&b], vec![&is_done], vec!["a back", "b ERROR"]),
    ] {
        let wants: Vec<Want> = wants.into_iter().cloned().collect();
        let pods: Vec<SeenPod> = pods.into_iter().cloned().collect();
        let entries: Vec<_> = entries.into_iter().map(|one| (&error, one.clone())).collect();
        let assigned = assign(&wants, &pods, &none);
        assert_eq!(planned(&assigned, &kept(&entries), &tries, true), expected, "{what}");
    }
    // Not all pods were listed: nobody knows whether it still matches.
    let wants = [error.clone()];
    let pods = [b];
    let assigned = assign(&wants, &pods, &none);
    assert_eq!(planned(&assigned, &kept(&[(&error, is_done)]), &tries, false), ["b ERROR"]);
}

#[test]
fn what_failed_is_tried_again_later_and_later() {
    let none = BTreeSet::new();
    let (wants, pods) = ([want("shop/own", "ERROR", 5, 1)], [pod("shop", "a", json!({}))]);
    let assigned = assign(&wants, &pods, &none);
    let mut tries = Tries::default();
    let key = ("uid-a".to_owned(), wants[0].target.clone());
    let waits_ms: Vec<i64> = (0..11)
        .map(|_| {
            tries.failed(&key, "port 1: no answer".to_owned(), NOW_MS);
            assert_eq!(planned(&assigned, &Kept::default(), &tries, true), Vec::<String>::new());
            tries.next_ms(NOW_MS).unwrap() - NOW_MS
        })
        .collect();
    assert_eq!(waits_ms[..4], [1_000, 2_000, 4_000, 8_000]);
    assert_eq!(waits_ms[9..], [RETRY_MS_MAX, RETRY_MS_MAX]);
    let said = progress_of(&wants, &assigned, &Kept::default(), &tries);
    let mut expected = Progress::default();
    expected.failed("shop/a".to_owned(), "port 1: no answer");
    assert_eq!(said["uid-shop/own"], expected);
    let (later, _) = work(&assigned, &Kept::default(), &tries, true, NOW_MS + RETRY_MS_MAX);
    assert_eq!(later.len(), 1);
    tries.succeeded(&key);
    assert_eq!(planned(&assigned, &Kept::default(), &tries, true), ["a ERROR"]);
    tries.failed(&key, "x".to_owned(), NOW_MS);
    tries.retain(&assign(&[], &pods, &none), &Kept::default());
    assert_eq!(tries.next_ms(NOW_MS), None, "nobody wants it any more");
}

#[test]
fn a_pod_that_cannot_be_asked_is_not() {
    let none = BTreeSet::new();
    let wants = [want("shop/own", "ERROR", 5, 1)];
    let pods = [pod("shop", "a", json!({"podIP": "127.0.0.1"}))];
    let assigned = assign(&wants, &pods, &none);
    assert_eq!(planned(&assigned, &Kept::default(), &Tries::default(), true), Vec::<String>::new());
    let said = progress_of(&wants, &assigned, &Kept::default(), &Tries::default());
    assert!(format!("{said:?}").contains("none of a pod"), "{said:?}");
}

#[test]
fn one_pass_has_a_bound_and_ends_come_first() {
    let none = BTreeSet::new();
    let ended = want("shop/ended", "WARN", 5, 2);
    let wants = [want("shop/own", "ERROR", 5, 1)];
    let pods: Vec<SeenPod> = (0..200).map(|number| pod("shop", &format!("p{number}"), json!({}))).collect();
    let entries: Vec<_> =
        pods.iter().take(3).map(|pod| (&ended, entry(&ended, pod, &[Level::Warn], true))).collect();
    let (work, has_more) =
        work(&assign(&wants, &pods, &none), &kept(&entries), &Tries::default(), true, NOW_MS);
    assert!(has_more && work.len() == WORK_MAX);
    assert!(work[..3].iter().all(|one| matches!(one.what, What::Restore { .. })));
    assert!(work[3..].iter().all(|one| matches!(one.what, What::Push { .. })));
}
