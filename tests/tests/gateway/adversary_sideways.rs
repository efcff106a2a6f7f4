//! The same, sideways: by ids and cursors of others, by names that are almost one's own, by filters that turn around, by an error that two tenants
//! share, by streams that change their mind.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cordwood_core::level::Level;
use cordwood_core::record::Flags;
use cordwood_tests::http::Answer;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::adversary::{Attack, SECRET, holds, origin, refused};
use super::web_socket::Socket;
use super::world::{Line, encoded, ids, line, now_us, put};

const PATIENCE: Duration = Duration::from_secs(30);
/// An error that both tenants have, of the same signature.
const SHARED: &str = r#"{"level":"error","error":{"type":"SharedError"},"message":"shared trouble"}"#;
/// Since when `den` is there: it has records of before.
const DEN: &str = "den";

/// Records in the same namespace and around it that the reader of shop may not see, and a namespace that was made after its records.
pub(super) async fn prepare(attack: &Attack) -> Result<()> {
    let now = now_us();
    let error = |at: i64| line(at, Level::Error, r#"{"level":"error","message":"quince neighbour"}"#);
    let audit = Line {
        flags: Flags::AUDIT,
        ..line(now, Level::Info, r#"{"is_audit":true,"action":"quince_look","message":"quince looked"}"#)
    };
    let shared = |at: i64| vec![line(at, Level::Error, SHARED)];
    let claims = r#"{"level":"error","tenant":"quince-tenant","tenantSlug":"quince-tenant","namespace":"bank","kubernetes":{"namespace":"bank"},"message":"apple claims"}"#;
    let mut of_id = origin("acme-2", "bank", 38, "melon");
    of_id.tenant_id = "quince-tenant".into();
    let long_ago = now - 1_800_000_000;
    put(
        &attack.world.store,
        &[
            (origin("acme", "shop", 30, "quince"), vec![audit]),
            (origin("acme", "shop", 31, "apple"), shared(now)),
            (
                origin("quince-tenant", "bank", 32, "quince"),
                [shared(now - 3 * 3_600_000_000), shared(now)].concat(),
            ),
            (origin("acme", "", 33, "quince"), vec![error(now)]),
            (origin("acme", "shop-quince", 34, "quince"), vec![error(now)]),
            (origin("acme", "SHOP", 35, "quince"), vec![error(now)]),
            (origin("acme", "sho", 36, "quince"), vec![error(now)]),
            (origin("acme", "shop", 37, "apple"), vec![line(now, Level::Error, claims)]),
            (of_id, vec![line(now, Level::Error, r#"{"level":"error","message":"melon broke"}"#)]),
            (origin("quince-tenant", DEN, 39, "quince"), vec![error(long_ago)]),
        ],
    )
    .await?;
    let den: Namespace = serde_json::from_value(json!({"metadata": {"name": DEN}}))?;
    let all: Api<Namespace> = Api::all(attack.cluster.client.clone());
    all.create(&PostParams::default(), &den).await?;
    let keeper = json!({"kind": "ServiceAccount", "name": "keeper", "namespace": super::cluster::HOME});
    attack.cluster.bind_subject("keeper-of-den", keeper, "tasks", DEN).await
}

pub(super) async fn get(attack: &Attack, path: &str) -> Result<Answer> {
    attack.with(&attack.reader, "GET", path, &[]).await
}

/// But for the time at which it was said.
pub(super) fn same(what: &str, theirs: &Answer, nowhere: &Answer) -> Result<()> {
    let headers = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.remove("date");
        headers
    };
    let is_same = theirs.code == nowhere.code && theirs.body == nowhere.body;
    ensure!(is_same && headers(theirs) == headers(nowhere), "{what}: {theirs:?} and {nowhere:?}");
    Ok(())
}

/// Records and groups of others by their very names: as names that nothing has.
pub(super) async fn what_is_theirs_is_as_what_is_nowhere(attack: &Attack) -> Result<()> {
    let theirs = attack.with(&attack.other, "GET", "/api/platform/logs?namespace=bank", &[]).await?.json()?;
    let theirs = ids(&theirs).into_iter().next_back().context("nothing of theirs")?;
    let (time, id) = theirs.split_once('.').context("no id")?;
    let nowhere = format!("{time}.9-99-9");
    let own = ids(&get(attack, "/api/platform/logs?text=broke").await?.json()?);
    let own_time =
        own.first().and_then(|own| own.split_once('.')).context("nothing of its own")?.0.to_owned();
    for path in ["{}", "{}/context", "{}/context?before=500&after=500"] {
        for (method, accept) in
            [("GET", "application/json"), ("GET", "text/plain"), ("HEAD", "*/*"), ("DELETE", "*/*")]
        {
            let ask = async |id: &str| {
                let path = format!("/api/platform/logs/{}", path.replace("{}", id));
                attack.with(&attack.reader, method, &path, &[("Accept", accept)]).await
            };
            let (there, absent) = (ask(&theirs).await?, ask(&nowhere).await?);
            refused(path, &there, &[404, 405, 406])?;
            same(path, &there, &absent)?;
        }
    }
    for id in [
        format!("{own_time}.{id}"),
        format!("{time}.{}", id.replace('-', "-0")),
        format!("0{theirs}"),
        format!("+{theirs}"),
    ] {
        refused(&id, &get(attack, &format!("/api/platform/logs/{}", encoded(&id))).await?, &[400, 404])?;
    }
    let all = "from=2000-01-01T00:00:00Z&to=2001-01-01T00:00:00Z";
    let theirs_signature = {
        let groups = attack
            .with(&attack.other, "GET", "/api/platform/logs/aggregates?text=quince", &[])
            .await?
            .json()?;
        groups["items"][0]["signature"].as_str().context("no group of theirs")?.to_owned()
    };
    for (what, path) in [
        ("a filter by id", format!("logs?{all}&filter=id%3D{{id}}")),
        ("a place to go on from", "logs?after={id}&namespace=bank".to_owned()),
        ("a place to go back from", "logs?before={id}&namespace=bank".to_owned()),
        ("an export from there", "logs?after={id}&order=oldest&namespace=bank".to_owned()),
        ("one group", "logs/aggregates/{signature}?namespace=bank".to_owned()),
        ("records of a group", format!("logs?{all}&filter=signature%3D%22{{signature}}%22")),
        ("groups behind theirs", "logs/aggregates?after=count.1.{signature}&namespace=bank&from=2000-01-01T00:00:00Z&to=2001-01-01T00:00:00Z".to_owned()),
        ("counts of a tenant", format!("logs/histogram?{all}&tenant={{tenant}}")),
        ("facets of a tenant", format!("logs/facets?{all}&tenant={{tenant}}&field=service&field=pod")),
        ("groups of a tenant", format!("logs/aggregates?{all}&tenant={{tenant}}")),
        ("groups of a service", format!("logs/aggregates?{all}&service={{tenant}}")),
        ("a plugin", "../plugins/{plugin}/logs".to_owned()),
        ("a plugin's later page", "../plugins/{plugin}/logs?page=3&page_size=1".to_owned()),
        ("who I am", "../whoami?".to_owned()),
    ] {
        let of = async |id: &str, signature: &str, tenant: &str, plugin: &str| {
            let path = path.replace("{id}", id).replace("{signature}", signature);
            let path = format!("/api/platform/{}", path.replace("{tenant}", tenant).replace("{plugin}", plugin));
            get(attack, &path.replace("platform/../", "")).await
        };
        let there = of(&theirs, &theirs_signature, "quince-tenant", "quince-plugin").await?;
        let absent = of(&nowhere, "v1:00000000000000ff", "nobody-s-name", "nobody-plugin").await?;
        holds(what, &there)?;
        same(what, &there, &absent)?;
    }
    Ok(())
}

/// Namespaces that begin so, in other case, or that have no name; a tenant by its id; what a record says of itself; audit records.
pub(super) async fn names_that_are_almost_ones_own(attack: &Attack) -> Result<()> {
    for path in [
        "logs?limit=1000",
        "logs?namespace=shop",
        "logs?namespace=shop&namespace=SHOP&namespace=sho&namespace=shop-quince",
        "logs?filter=namespace%3Ashop%2A",
        "logs?filter=NOT+EXISTS+namespace",
        "logs?filter=category%3Daudit",
        "logs?filter=action%3Dquince_look",
        "logs?filter=data.is_audit%3Dtrue",
        "logs/histogram",
        "logs/facets?field=category&field=action&field=pod&field=namespace&field=service&values=100",
        "logs/completion?text=action%3D",
        "logs/completion?text=namespace%3Ds",
        "logs/completion?text=pod%3D&values=100",
        "logs/aggregates?limit=1000",
    ] {
        let answer = get(attack, &format!("/api/platform/{path}")).await?;
        ensure!(answer.code == 200, "{path}: {}", answer.text());
        holds(path, &Answer { body: answer.text().replace("quince-tenant", "").into_bytes(), ..answer })?;
    }
    for accept in ["application/x-ndjson", "text/csv", "text/plain"] {
        let answer = attack
            .with(&attack.reader, "GET", "/api/platform/logs?order=oldest", &[("Accept", accept)])
            .await?;
        holds(accept, &Answer { body: answer.text().replace("quince-tenant", "").into_bytes(), ..answer })?;
    }
    // Who sees a tenant (and shop) sees no other's records that carry its id.
    for path in [
        "logs?limit=1000",
        "logs?filter=melon",
        "logs/facets?field=service&field=pod",
        "logs/aggregates?limit=1000",
    ] {
        let answer = attack.with(&attack.other, "GET", &format!("/api/platform/{path}"), &[]).await?;
        ensure!(answer.code == 200, "{path}: {}", answer.text());
        ensure!(
            !answer.text().contains("melon broke") && !answer.text().contains("melon-"),
            "{path}: {}",
            answer.text()
        );
    }
    Ok(())
}

/// A scope stands beside the filter: what a filter denies or leaves open opens nothing.
pub(super) async fn filters_that_turn_around(attack: &Attack) -> Result<()> {
    for filter in [
        "NOT namespace=shop",
        "namespace!=shop",
        "NOT tenant=acme",
        "NOT (NOT tenant=\"quince-tenant\")",
        "NOT (namespace=shop AND tenant=acme)",
        "namespace=bank OR message EXISTS",
        "message REGEXP \".*\"",
        "tenant REGEXP \"^q.*\"",
        "namespace REGEXP \"bank|shop\"",
        "NOT message REGEXP \"^$\"",
        "tenant LIKE \"q%\"",
        "namespace LIKE \"%\"",
        "namespace LIKE \"b_nk\"",
        "namespace CONTAINS \"ban\"",
        "namespace IN (\"bank\", \"shop\")",
        "NOT namespace IN (\"shop\")",
        "tenant EXISTS",
        "EXISTS tenant",
        "tenantId=\"quince-tenant\"",
        "tenantSlug=\"quince-tenant\"",
        "data.tenant=\"quince-tenant\"",
        "kubernetes.namespace=bank",
        "taskId=job",
        "traceId:quince*",
        "*quince*",
        "\"quince broke\"",
        "quince OR apple",
        "namespace:bank",
        "namespace>=a",
        "tenant<z",
        "level>=trace",
    ] {
        for path in
            ["logs?limit=1000&", "logs/histogram?", "logs/facets?field=tenant&field=namespace&field=service&"]
        {
            let path = format!("/api/platform/{path}filter={}", encoded(filter));
            let answer = get(attack, &path).await?;
            ensure!([200, 400].contains(&answer.code), "{filter}: {} {}", answer.code, answer.text());
            let (text, total) = (answer.text(), attack_total(&answer));
            for word in [
                "quince broke",
                "quince neighbour",
                "quince looked",
                "quince-service",
                "quince-pod",
                "\"bank\"",
            ] {
                let is_own = filter.contains(word.trim_matches('"')) && answer.code == 400;
                // (A record of shop says of itself that it is of bank.)
                let is_claim = word == "\"bank\"" && text.contains("apple claims");
                ensure!(is_own || is_claim || !text.contains(word), "{filter}: {text}");
            }
            // Four errors of shop, and what it says of others.
            ensure!(total.is_none_or(|total| total <= 5), "{filter}: {text}");
        }
    }
    Ok(())
}

fn attack_total(answer: &Answer) -> Option<u64> {
    answer.json().ok()?["records"].as_u64()
}

/// What is a sign in SQL, in a pattern, in a path of JSON, is a letter here.
pub(super) async fn signs_that_mean_more_in_the_database(attack: &Attack) -> Result<()> {
    let signs = [
        "%",
        "_",
        "\\",
        "%quince%",
        "q_ince%",
        "' OR true --",
        "\" OR namespace=\"bank",
        "a\" OR \"\"=\"",
        "$.a",
        "a'->'b",
        "{a,b}",
        "a||b",
        "*",
        "?",
        "[a-z]*",
        "\u{0}",
        "'; select pg_sleep(20); --",
        "\u{ff51}uince",
        "QUINCE\u{301}",
        "\r\nX: y",
        "${jndi:x}",
    ];
    for sign in signs {
        let sign = encoded(sign);
        for path in [
            format!("/api/tasks/job/logs?search={sign}"),
            format!("/api/tasks/job/logs?source={sign}"),
            format!("/api/tasks/job/logs?metadata.{sign}=x"),
            format!("/api/tasks/job/logs?metadata.a={sign}"),
            format!("/api/tasks/{sign}/logs"),
            format!("/api/tasks/{sign}/logs/stats?namespace={sign}"),
            format!("/api/plugins/{sign}/logs"),
            format!("/api/platform/logs/aggregates?text={sign}"),
            format!("/api/platform/logs/aggregates?service={sign}&tenant={sign}"),
            format!("/api/platform/logs/aggregates/{sign}"),
            format!("/api/platform/logs/facets?field=pod&prefix={sign}"),
            format!("/api/platform/logs/completion?text=pod%3D{sign}"),
            format!("/api/platform/logs?service={sign}"),
            format!("/api/platform/logs?after={sign}"),
        ] {
            let answer = get(attack, &path).await?;
            ensure!([200, 400, 404].contains(&answer.code), "{path}: {} {}", answer.code, answer.text());
            for word in [
                "quince broke",
                "quince-service",
                "quince-pod",
                "quinceError",
                "quince neighbour",
                "apple broke 0\",\"metadata",
            ] {
                ensure!(!answer.text().contains(word), "{path}: {}", answer.text());
            }
        }
    }
    // A part that matches everything where it is a sign matches nothing where it is a letter.
    for path in [
        "/api/tasks/job/logs?search=%25",
        "/api/tasks/job/logs?search=_",
        "/api/platform/logs/aggregates?text=%25",
    ] {
        let answer = get(attack, path).await?.json()?;
        ensure!(answer["items"] == json!([]), "{path}: {answer}");
    }
    for query in [
        "scope=all",
        "tenantId=quince-tenant",
        "tenant_id=x",
        "audit=true",
        "namespaces=bank",
        "namespace[]=bank",
        "as=other",
        "user=x",
        "limit=1000000",
    ] {
        refused(query, &get(attack, &format!("/api/platform/logs?{query}")).await?, &[400])?;
    }
    Ok(())
}

/// Its counts, times and places are those of one's own; whether it is new too.
pub(super) async fn an_error_that_both_have(attack: &Attack) -> Result<()> {
    let list = get(attack, "/api/platform/logs/aggregates?text=shared&newSince=-2h").await?.json()?;
    let group = &list["items"][0];
    ensure!(list["items"].as_array().is_some_and(|all| all.len() == 1) && group["count"] == 1, "{list}");
    let signature = group["signature"].as_str().context("no signature")?;
    let one = get(attack, &format!("/api/platform/logs/aggregates/{signature}")).await?.json()?;
    for group in [group, &one] {
        ensure!(
            group["tenants"] == json!(["acme"]) && group["services"] == json!(["apple-service"]),
            "{group}"
        );
        ensure!(group["firstSeen"] == group["lastSeen"], "{group}");
        ensure!(group["trend"].as_array().is_some_and(|bins| bins.len() == 1), "{group}");
        ensure!(group["cut"].is_null(), "{group}");
    }
    let theirs =
        attack.with(&attack.other, "GET", "/api/platform/logs/aggregates?text=shared", &[]).await?.json()?;
    ensure!(theirs["items"][0]["signature"] == signature && theirs["items"][0]["count"] == 3, "{theirs}");
    let records = get(attack, &format!("/api/platform/logs?signature={signature}")).await?;
    ensure!([200, 400].contains(&records.code), "{}", records.text());
    let records =
        get(attack, &format!("/api/platform/logs?filter=signature%3D%22{signature}%22")).await?.json()?;
    ensure!(ids(&records).len() == 1 && !records.to_string().contains("quince"), "{records}");
    Ok(())
}

/// Another filter in mid-stream, another's cursor, another's lines while nothing is taken.
pub(super) async fn streams_that_change_their_mind(attack: &Attack) -> Result<()> {
    let address = &attack.world.address;
    let open = async |token: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "cordwood.v1")];
        anyhow::Ok(Socket::connect_to(address, path, &headers).await?)
    };
    let stream = "/api/platform/logs/stream";
    let mut theirs = open(&attack.other, stream).await??;
    theirs.say(json!({"type": "start", "credit": 1000, "after": "1.0-0-0"})).await?;
    theirs.expect("hello").await?;
    let (shown, cursor) = theirs.records(1).await?;
    ensure!(!shown.is_empty(), "{shown:?}");
    let mut all = String::new();
    let mut socket = open(&attack.reader, stream).await??;
    socket
        .say(json!({"type": "start", "credit": 1000, "filter": "nothing-of-this", "after": cursor}))
        .await?;
    all.push_str(&socket.expect("hello").await?.to_string());
    for filter in [
        "namespace=bank",
        "tenant=\"quince-tenant\" OR namespace=bank",
        "NOT namespace=shop",
        "",
        "namespace=bank AND namespace=bank",
    ] {
        socket.say(json!({"type": "filter", "filter": filter})).await?;
    }
    socket
        .say(json!({"type": "start", "credit": 1000, "filter": "namespace=bank", "after": "1.0-0-0"}))
        .await?;
    // While nothing is taken others write; what is told of it is nothing.
    let mut still = open(&attack.reader, stream).await??;
    still.say(json!({"type": "start", "credit": 0})).await?;
    all.push_str(&still.expect("hello").await?.to_string());
    let mut monitor = open(&attack.reader, "/ws/monitor").await??;
    let mut task = open(&attack.reader, "/api/tasks/job/logs/stream").await??;
    // A stream of a task need not wait for the task: another's opens as one that is nowhere does, and shows as much.
    let mut others = open(&attack.reader, "/api/tasks/job/logs/stream?namespace=bank").await??;
    let now = now_us();
    let many = (0..3_000).map(|n| {
        line(
            now + n,
            Level::Error,
            format!(r#"{{"level":"error","taskId":"job","message":"[AUDIT] quince flood {n}"}}"#),
        )
    });
    let own = |text: &str| {
        vec![line(
            now_us(),
            Level::Error,
            format!(r#"{{"level":"error","taskId":"job","message":"{text}"}}"#),
        )]
    };
    put(
        &attack.world.store,
        &[
            (origin("quince-tenant", "bank", 60, "quince"), many.collect()),
            (origin("acme", "shop", 61, "apple"), own("apple flood is over")),
        ],
    )
    .await?;
    still.say(json!({"type": "credit", "n": 1000})).await?;
    let until_over = async |what: &str, socket: &mut Socket, told: &mut String| {
        let patience = tokio::time::timeout(PATIENCE, async {
            loop {
                let frame = socket.next().await?;
                ensure!(frame["type"] != "gap", "{what}: {frame}");
                told.push_str(&frame.to_string());
                if frame.to_string().contains("apple flood is over") {
                    return Ok(());
                }
            }
        });
        patience.await.with_context(|| format!("{what}: its own line does not come"))?
    };
    until_over("without credit", &mut still, &mut all).await?;
    until_over("monitor", &mut monitor, &mut all).await?;
    until_over("task", &mut task, &mut all).await?;
    // (Had a line come for it, it would stand before the close.)
    others.0.close(None).await?;
    while let Ok(Ok(message)) = tokio::time::timeout(PATIENCE, others.message()).await {
        ensure!(!message.is_text(), "{message}");
    }
    // The one that was to start twice is refused, or goes on with what it is asked for last; whatever it says.
    let last = json!({"type": "filter", "filter": "namespace=bank OR \"flood is over\""});
    if socket.say(last).await.is_ok() {
        while let Ok(Ok(frame)) = tokio::time::timeout(PATIENCE, socket.next()).await {
            all.push_str(&frame.to_string());
            if frame["type"] == "bye" || frame.to_string().contains("apple flood is over") {
                break;
            }
        }
    }
    let all = all.replace("quince-tenant", "");
    ensure!(!all.contains(SECRET), "{all}");
    Ok(())
}
