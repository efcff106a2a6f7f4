// Whatever an application hands over: the line is valid JSON, it is one line, it is bounded, and nothing throws.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Logging, MemoryOutput } from "../dist/index.mjs";
import { inMemory } from "./parts.mjs";

const cycle = { name: "a" };
cycle.self = cycle;
let deep = { end: true };
for (let i = 0; i < 100_000; i++) deep = { deep };
const wide = Object.fromEntries(Array.from({ length: 50_000 }, (_, at) => ["k" + at, "v".repeat(100)]));
const revoked = Proxy.revocable({}, {});
revoked.revoke();
const throws = (what) => { throw new Error(what); };
const chain = new Error("a");
chain.cause = new Error("b", { cause: chain });
class Odd { #x = 1; toJSON() { return throws("toJSON"); } }

// A value, and what it becomes; undefined where only validity counts.
const values = {
  "a cycle": [cycle, { name: "a", self: "[Circular]" }],
  "the same object twice is no cycle": [((one) => [one, one])({ a: 1 }), [{ a: 1 }, { a: 1 }]],
  "a huge depth": [deep],
  "a wide object": [wide],
  "an array of a million": [new Array(1_000_000).fill("x")],
  "a BigInt": [{ n: 12345678901234567890n }],
  "a Date": [new Date(0), "1970-01-01T00:00:00.000Z"],
  "a Date that is none": [new Date(NaN), "Invalid Date"],
  "a Map": [new Map([["a", 1], [{ k: 1 }, new Set([1, "b"])]]), { a: 1, '{"k":1}': [1, "b"] }],
  "bytes": [Buffer.from("h\u00e9\n"), "h\u00e9\n"],
  "bytes that are no text": [new Uint8Array([0xff, 0x61]), "\ufffda"],
  "numbers in a typed array": [new Float64Array([1, NaN]), [1, "NaN"]],
  "a getter that throws": [{ get a() { return throws("no"); }, b: 1 }, { a: "[Throws: no]", b: 1 }],
  "toJSON that throws": [new Odd(), "[Throws: toJSON]"],
  "toJSON": [{ toJSON: () => ({ a: 1n }) }, { a: 1 }],
  "toJSON that returns itself": [(() => { const it = { a: 1, toJSON: () => it }; return it; })(), { a: 1 }],
  "toJSON without an end": [(() => { const again = () => ({ toJSON: again }); return again(); })()],
  "a proxy that is revoked": [revoked.proxy],
  "a proxy whose keys throw": [new Proxy({}, { ownKeys: () => throws("keys") }), "[Throws: keys]"],
  "functions, symbols and undefined": [{ f() {}, s: Symbol("s"), u: undefined, a: 1, list: [undefined, () => {}] }, { a: 1, list: [null, null] }],
  "an error within": [{ inner: new RangeError("r") }],
  "an error without end": [{ chain }],
  "no prototype": [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  "a key called __proto__": [JSON.parse('{"__proto__": 1, "a": 2}'), JSON.parse('{"__proto__": 1, "a": 2}')],
  "boxed values": [[new String("s"), new Number(1), new Boolean(false)], ["s", 1, false]],
  "minus zero": [-0, 0],
  "a regular expression and an address": [[/a"b/g, new URL("http://h/p?q")], ['/a"b/g', "http://h/p?q"]],
  "ten megabytes": ["x".repeat(10 << 20)],
  "ten megabytes within": [{ a: ["\u20ac".repeat(10 << 20)] }],
  "NUL and newlines": ["a\0b\r\n\u2028\u0085", "a\0b\r\n\u2028\u0085"],
  "half surrogates": ["a\ud83d b\udf32 \ud83c\udf32", "a\ufffd b\ufffd \ud83c\udf32"],
  "half a surrogate in a key": [{ "\ud800": 1 }, { "\ufffd": 1 }],
  "what looks like an escaped surrogate": ["\\ud800", "\\ud800"],
};

for (const [name, [value, wanted]] of Object.entries(values)) {
  test(name, () => {
    const { log, raw } = inMemory();
    log.info({ value }, "m");
    log.child({ value }).info("m");
    const lines = raw().split("\n");
    assert.equal(lines.length, 3, "two lines");
    for (const line of lines.slice(0, 2)) {
      assert.ok(Buffer.byteLength(line) < 4 << 20, `bounded: ${line.length}`);
      assert.ok(!/\\ud[89a-f]/i.test(line.replace(/\\\\/g, "")), "no half of a surrogate");
      const record = JSON.parse(line);
      if (wanted !== undefined) assert.deepEqual(record.value, wanted);
    }
  });
}

const calls = {
  "no arguments": (log) => log.info(),
  "undefined": (log) => log.info(undefined),
  "null": (log) => log.info(null, "m"),
  "a number": (log) => log.info(5),
  "an array": (log) => log.info([1, 2], "m"),
  "fields whose keys throw": (log) => log.info(new Proxy({}, { ownKeys: () => throws("keys") }), "m"),
  "fields of a revoked proxy": (log) => log.info(revoked.proxy, "m"),
  "a message of half a surrogate": (log) => log.info("\ud800"),
  "a format without values": (log) => log.info("%s %d %j", "a"),
  "a format with a cycle": (log) => log.info("%j %o", cycle, cycle),
  "an error whose message throws": (log) => log.error(Object.defineProperty(new Error("x"), "message", { get: () => throws("no") })),
  "an error whose stack throws": (log) => log.error(Object.defineProperty(new Error("x"), "stack", { get: () => throws("no") })),
  "an error whose name and code are objects": (log) => log.error(Object.assign(new Error("x"), { name: {}, code: {} })),
  "an error from another realm": (log) => log.error({ err: Object.assign(Object.create(Error.prototype), { message: "m" }) }),
  "a thrown string": (log) => log.error({ err: "just a text" }, "m"),
  "a circular chain of causes": (log) => log.error(chain, "m"),
  "every own name": (log) => log.info({ timestamp: 1, level: 2, message: 3, is_audit: 4, field_level: 5, error: 6, errorType: 7, error_type: 8 }, "m"),
  "audit metadata with a cycle": (log) => log.audit("m", { action: "a", metadata: cycle }),
  "an audit event that throws": (log) => log.audit("m", { get action() { return throws("action"); } }),
  "an audit event that is none": (log) => log.audit("m"),
  "headers that throw": (log) => log.forRequest({ get headers() { return throws("headers"); } }).info("m"),
  "headers of a revoked proxy": (log) => log.forRequest(revoked.proxy).info("m"),
  "an audit event with own names": (log) => log.audit("m", { action: "a", metadata: {} }, { is_audit: false, level: "x" }),
};
for (const [name, call] of Object.entries(calls)) {
  test(`called with ${name}`, () => {
    const { log, raw } = inMemory();
    call(log);
    const lines = raw().split("\n");
    assert.equal(lines.length, 2, "one line");
    const record = JSON.parse(lines[0]);
    assert.equal(typeof record.message, "string");
    const keys = [...lines[0].matchAll(/[{,]("(?:[^"\\]|\\.)*"):/g)].length;
    assert.ok(keys >= 5);
    assert.equal(JSON.stringify(record).length, lines[0].length, "no key twice");
  });
}

test("what pino's users write works", () => {
  const { log, records } = inMemory();
  log.info({ a: 1 }, "fields %s", "formatted");
  log.info("message with %s and %d", "text", 5);
  log.info("message", { b: 2 });
  log.error(new TypeError("bad"));
  log.error(new TypeError("bad"), "told");
  log.error("told", new TypeError("bad"));
  log.error({ err: new TypeError("bad"), c: 3 });
  log.info({ msg: "inside" });
  log.fatal("the end");
  log.silent("nothing");
  const all = records();
  assert.deepEqual(all.map(({ message }) => message), ["fields formatted", "message with text and 5", "message", "bad", "told", "told", "bad", "inside", "the end"]);
  assert.deepEqual([all[0].a, all[2].b, all[6].c, all[8].level], [1, 2, 3, "ERROR"]);
  for (const at of [3, 4, 5, 6]) assert.deepEqual([all[at].error, all[at].errorType], ["bad", "TypeError"]);
});

test("levels of a logger's own", () => {
  const { log, logging, records } = inMemory({ level: "warn" });
  log.info("no");
  const child = log.child({}, { level: "debug" });
  child.debug("a");
  child.level = "error";
  child.warn("no");
  assert.deepEqual([log.level, child.level, child.isLevelEnabled("error"), child.isLevelEnabled("warn")], ["WARN", "ERROR", true, false]);
  assert.throws(() => (log.level = "loud"), { name: "LevelError" });
  logging.levels.change({ level: "INFO" });
  child.info("b");
  log.info("c");
  assert.deepEqual(records().map(({ message }) => message), ["a", "b", "c"]);
});

test("a console shows at once, in colours only on a terminal, and no sequence of an application's", () => {
  const output = new MemoryOutput();
  const log = new Logging({ env: { CORDWOOD_ENV: "development" }, output }).createLogger("shop");
  log.info({ orderId: 17, text: "a b" }, "paid\u001b[31m");
  assert.match(output.text, /^\d\d:\d\d:\d\d\.\d{3} INFO  shop paid\\x1b\[31m environment=development orderId=17 text="a b"\n$/);
  log.error(new TypeError("bad"));
  assert.match(output.text, /\n    TypeError: bad\n        at /);
});
