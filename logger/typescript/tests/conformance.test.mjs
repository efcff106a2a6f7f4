// The table that all loggers share (logger/conformance), run by this one: what an application calls, and which lines come out.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Logging, MemoryOutput, TaskContext, withContext } from "../dist/index.mjs";
import { answer } from "../dist/http.js";

const cases = JSON.parse(readFileSync(new URL("../../conformance/cases.json", import.meta.url), "utf8"));
const text = (value) => (value?.$repeat === undefined ? value : value.$repeat[0].repeat(value.$repeat[1]) + (value.$then ?? ""));

/** A value of a call. */
function given(value) {
  if (Array.isArray(value)) return value.map(given);
  if (typeof value !== "object" || value === null) return value;
  if (value.$repeat) return text(value);
  if (value.$number) return Number(value.$number);
  if (value.$integer) return BigInt(value.$integer);
  if (value.$absent) return null;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, given(one)]));
}

/** An error whose class has this name. */
function errorOf({ type, message, code, cause }) {
  const Type = { [type]: class extends Error {} }[type];
  const error = new Type(message, cause === undefined ? undefined : { cause: errorOf(cause) });
  if (code !== undefined) error.code = code;
  return error;
}

const METHODS = { TRACE: "trace", DEBUG: "debug", INFO: "info", WARN: "warn", ERROR: "error" };

function run(logging, log, calls) {
  for (const call of calls) {
    if (call.log !== undefined) {
      const fields = { ...given(call.fields ?? {}), ...(call.error && { err: errorOf(call.error) }) };
      log[METHODS[call.log]](fields, text(call.message));
    } else if (call.audit !== undefined) log.audit(text(call.audit), { action: call.action, metadata: given(call.metadata) });
    else if (call.bind !== undefined) run(logging, log.child(given(call.bind)), call.calls);
    else if (call.context !== undefined) withContext(given(call.context), () => run(logging, log, call.calls));
    else if (call.logger !== undefined) run(logging, log.named(call.logger), call.calls);
    else if (call.request !== undefined) run(logging, logging.createRequestLogger(given(call.request), log), call.calls);
    else if (call.task !== undefined) run(logging, new TaskContext(log, call.task, { source: call.source }).logger, call.calls);
    else if (call.scope !== undefined) {
      const work = () => {
        run(logging, log, call.calls);
        if (call.fails !== undefined) throw new Error(call.fails);
      };
      if (call.fails === undefined) log.scope(call.scope, work);
      else assert.throws(() => log.scope(call.scope, work), { message: call.fails });
    } else if (call.put !== undefined) {
      const said = answer(logging.levels, "PUT", JSON.stringify(call.put));
      assert.equal(said.status, call.status ?? 200, said.body);
    } else if (call.source !== undefined) run(logging, log.withSource(call.source), call.calls);
    else assert.fail(`unknown call ${JSON.stringify(call)}`);
  }
}

/** What came out, in the table's words where it is what they stand for. */
function told(got, wanted, raw, key) {
  if (wanted === "<time>") return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{3}|\d{6})Z$/.test(got) ? wanted : got;
  if (wanted === "<file>" || wanted === "<function>") return typeof got === "string" && got !== "" ? wanted : got;
  if (wanted === "<line>") return Number.isInteger(got) && got > 0 ? wanted : got;
  if (wanted?.$stack) {
    let at = 0;
    const holds = wanted.$stack.every((part) => (at = String(got).indexOf(part, at)) >= 0);
    return holds ? wanted : got;
  }
  if (wanted?.$repeat) return got === text(wanted) ? wanted : got;
  if (wanted?.$integer) return raw.includes(`${JSON.stringify(key)}:${wanted.$integer}`) ? wanted : got;
  return got;
}

function noKeyTwice(raw) {
  // What JSON.parse and JSON.stringify give back has each key once: a key that comes twice makes it shorter.
  const keys = (one) => (one.match(/"(?:[^"\\]|\\.)*":/g) ?? []).length;
  assert.equal(keys(raw), keys(JSON.stringify(JSON.parse(raw))), raw.slice(0, 500));
}

for (const { name, env, service, location, calls, lines } of cases) {
  test(name, () => {
    const output = new MemoryOutput();
    const logging = new Logging({ env: { ...env }, output, format: env?.CORDWOOD_ENV ? undefined : "json" });
    run(logging, logging.createLogger(service ?? "shop", { caller: location === true }), calls);
    logging.flush();
    const all = output.text.split("\n");
    assert.equal(all.pop(), "", "the last line has its end");
    const got = all.map((raw, at) => {
      assert.match(raw, /^\{"timestamp":"[^"]*","level":"[A-Z]+","message":"/);
      noKeyTwice(raw);
      const record = JSON.parse(raw);
      if (location !== true) for (const key of ["file", "line", "function"]) delete record[key];
      return Object.fromEntries(Object.entries(record).map(([key, one]) => [key, told(one, lines[at]?.[key], raw, key)]));
    });
    assert.deepEqual(got, lines);
  });
}
