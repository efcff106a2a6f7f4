"""What the OpenAPI document says in words: filters by their grammar, and parameters that depend on each other."""

from datetime import datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies as st

LEVELS = ["trace", "debug", "info", "warn", "error"]
TASK_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"]
FIELDS = ["service", "namespace", "tenant", "pod", "traceId", "message", "errorType", "data.order", 'data."any key"']
NOW = datetime.now(timezone.utc)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


words = st.text("abcxyzÄß0123456789", min_size=1, max_size=12)
texts = st.text(st.characters(exclude_characters="\0*", exclude_categories=["Cs", "Cc"]), max_size=20)
values = st.builds(lambda word, rest: quoted(word + rest), words, texts)
leaves = st.one_of(
    words,
    st.builds(lambda word: quoted(word + " " + word), words),
    st.builds(lambda op, level: f"level{op}{level}", st.sampled_from(["=", ">=", "<", "!="]), st.sampled_from(LEVELS)),
    st.builds(lambda field, value: f"{field}={value}", st.sampled_from(FIELDS), values),
    st.builds(lambda field, word: f"{field}:{word}*", st.sampled_from(FIELDS), words),
    st.builds(lambda field: f"{field} EXISTS", st.sampled_from(FIELDS)),
    st.builds(lambda field, value: f"{field} CONTAINS {value}", st.sampled_from(FIELDS), values),
    st.builds(lambda field, word: f'{field} LIKE "%{word}_"', st.sampled_from(FIELDS), words),
    st.builds(lambda field, word: f'{field} REGEXP "^{word}.*"', st.sampled_from(FIELDS), words),
    st.builds(lambda field, a, b: f"{field} IN ({a}, {b})", st.sampled_from(FIELDS), values, values),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, op, b: f"({a} {op} {b})", inner, st.sampled_from(["AND", "OR"]), inner),
        st.builds(lambda a: f"NOT ({a})", inner),
    ),
    max_leaves=6,
)
schemathesis.openapi.format("cordwood-filter", filters)
# A text to search for has a letter or a digit.
schemathesis.openapi.format("cordwood-text", st.builds(lambda a, word, b: a + word + b, texts, words, texts))


def time(text):
    """A parameter's time; None: it is none."""
    if text == "now":
        return NOW
    if text.startswith("-"):
        return NOW - timedelta(seconds=1)
    try:
        return datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    except ValueError:
        return None


def at_most(levels, least, all_levels):
    """Whether none of the levels reaches the least one."""
    rank = {level: place for place, level in enumerate(all_levels)} | {"WARN": 2}
    return all(rank.get(level, 0) < rank.get(least, 0) for level in levels)


def without_null(value):
    """A null in a resource is a field that is not there, as for the API server: in its place stands what no field takes."""
    if isinstance(value, dict):
        return {name: without_null(inner) for name, inner in value.items()}
    return [[]] if value is None else value


@schemathesis.hook
def before_call(context, case, kwargs):
    """A question that is right in each of its parts is right as a whole, or is made so; one that is meant to be wrong is."""
    query = case.query
    if case.operation.path.startswith("/api/admin/") and case.meta and case.meta.generation.mode.is_negative:
        for part in ("metadata", "spec"):
            if isinstance(case.body, dict) and isinstance(case.body.get(part), dict):
                case.body[part] = without_null(case.body[part])
    if not query or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "after" in query and "before" in query and case.operation.path == "/api/platform/logs":
        del query["before"]
    if "from" in query:
        begin, end = time(query["from"]), time(query.get("to", "now"))
        ago = [name for name in ("from", "to") if str(query.get(name, "")).startswith("-")]
        if begin is None or end is None or begin >= end or len(ago) == 2:
            del query["from"]
    for least, levels in (("minLevel", LEVELS), ("min_level", TASK_LEVELS)):
        if least in query and query.get("level") and at_most(query["level"], query[least], levels):
            del query[least]
    if "after" in query and case.operation.path.endswith("/aggregates"):
        query["sort"] = query["after"].split(".")[0]
