use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderValue, header};

use super::*;
use crate::question::{FILTERS, RANGE};

fn documented(path: &str) -> BTreeSet<String> {
    let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
    let parameters = document["paths"][path]["get"]["parameters"].as_array().cloned().unwrap_or_default();
    let query = parameters.iter().filter(|parameter| parameter["in"] == "query");
    query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_document_names_every_parameter_that_is_read() {
    let routes: [(&str, &[&[&str]]); 13] = [
        ("/api/platform/logs/completion", &[&RANGE, &completion::TYPED]),
        ("/api/platform/logs/aggregates", &[&RANGE, &aggregates::WHOSE, &aggregates::LIST]),
        ("/api/platform/logs/aggregates/{signature}", &[&RANGE, &aggregates::WHOSE]),
        ("/api/platform/logs/stream", &[&FILTERS, &stream::FROM]),
        ("/api/platform/logs", &[&FILTERS, &RANGE, &logs::PAGE]),
        ("/api/platform/logs/{id}", &[]),
        ("/api/tasks/{task_id}/logs", &[&tasks::LINES]),
        ("/api/tasks/{task_id}/logs/stats", &[&tasks::WHERE]),
        ("/api/tasks/{task_id}/logs/sources", &[&tasks::WHERE]),
        ("/api/plugins/{id}/logs", &[&plugins::PAGE]),
        ("/api/platform/logs/{id}/context", &[&context::AROUND]),
        ("/api/platform/logs/histogram", &[&FILTERS, &RANGE, &histogram::BINS]),
        ("/api/platform/logs/facets", &[&FILTERS, &RANGE, &facets::FACETS]),
    ];
    for (path, known) in routes {
        let known: BTreeSet<String> =
            known.iter().flat_map(|names| names.iter()).map(|name| (*name).to_owned()).collect();
        assert_eq!(documented(path), known, "{path}");
    }
}

#[test]
fn the_committed_document_is_what_the_code_gives() {
    let committed = include_str!("../../openapi.json");
    assert!(
        committed == openapi_json(),
        "gateway/openapi.json is not up to date: run `cargo xtask generate`"
    );
}

#[test]
fn every_route_of_the_document_says_how_it_refuses() {
    let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["responses"]["4XX"].is_object(), "{method} {path}");
            assert!(operation["security"].is_array(), "{method} {path}");
        }
    }
}

#[test]
fn the_form_is_the_first_that_is_known() {
    let all = [Form::Json, Form::NdJson, Form::Csv, Form::Text];
    for (accept, known, expected) in [
        (None, &all[..], Some(Form::Json)),
        (Some(""), &all, Some(Form::Json)),
        (Some("*/*"), &all, Some(Form::Json)),
        (Some("text/html,application/xhtml+xml,*/*;q=0.8"), &all, Some(Form::Json)),
        (Some("application/x-ndjson"), &all, Some(Form::NdJson)),
        (Some("Text/CSV; header=present, application/json"), &all, Some(Form::Csv)),
        (Some("text/csv"), &[Form::Json, Form::Text], None),
        (Some("text/csv, text/plain"), &[Form::Json, Form::Text], Some(Form::Text)),
        (Some("image/png"), &all, None),
    ] {
        let headers: HeaderMap =
            accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))).into_iter().collect();
        assert_eq!(Form::asked(&headers, known).ok(), expected, "{accept:?}");
    }
}
