// What reaches standard output, whatever happens to the program or to who reads: what was promised is there, nothing is torn, and what is missing
// is counted.

import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Delivery } from "../dist/delivery.js";
import { Logging, MemoryOutput } from "../dist/index.mjs";
import { folder, Pipe, program, records } from "./parts.mjs";

const messages = (all) => all.map(({ message }) => message);

/** Runs a program to its end, its output in a file. */
async function toFile(t, text, env) {
  const path = join(folder(t), "out.log");
  const file = openSync(path, "a");
  const running = program(text, file, env);
  closeSync(file);
  return { ...running, read: () => records(readFileSync(path, "utf8")) };
}

test("the buffer is what the environment says, before what the program says", () => {
  const rows = [
    [{ CORDWOOD_BUFFER_MS: "60000" }, undefined, 50],
    [{ CORDWOOD_BUFFER_RECORDS: "7" }, undefined, 7],
    [{ CORDWOOD_BUFFER_RECORDS: "7" }, { records: 3 }, 7],
    [{ CORDWOOD_BUFFER_RECORDS: "0" }, { records: 3 }, 3],
    [{ CORDWOOD_BUFFER_MS: "0", CORDWOOD_BUFFER_RECORDS: "7" }, undefined, 1],
  ];
  for (const [env, limits, expected] of rows) {
    const output = new MemoryOutput();
    const log = new Logging({ env, limits, output, format: "json" }).createLogger("shop");
    for (let count = 0; count < expected; count++) {
      assert.equal(output.text, "", `after ${count} records`);
      log.info("record");
    }
    assert.equal(output.text.split("\n").length - 1, expected);
  }
});

test("fifty records are written together, fewer wait", async (t) => {
  const running = await toFile(t, `for (let i = 0; i < 120; i++) log.info("r" + i); say("ready"); setInterval(() => {}, 1000);`);
  await running.heard("ready");
  assert.equal(running.read().length, 100);
  running.child.kill("SIGKILL");
  await running.ended;
  assert.equal(running.read().length, 100, "kill -9 takes what waited, and tears nothing");
});

test("an ERROR takes along what waits, at once", async (t) => {
  const running = await toFile(t, `log.info("a"); log.error("b"); log.info("c"); say("ready"); setInterval(() => {}, 1000);`);
  await running.heard("ready");
  running.child.kill("SIGKILL");
  await running.ended;
  assert.deepEqual(messages(running.read()), ["a", "b"]);
});

test("what waits is written after five seconds, though nothing more comes", async (t) => {
  const text = `
    const timers = []; const real = globalThis.setTimeout;
    globalThis.setTimeout = (work, ms) => (timers.push([work, ms]), real(() => {}, 1));
    log.info("a");
    say("waits " + timers[0][1]); timers[0][0](); say("fired"); setInterval(() => {}, 1000);`;
  const running = await toFile(t, text);
  await running.heard("waits 5000");
  await running.heard("fired");
  assert.deepEqual(messages(running.read()), ["a"]);
  running.child.kill("SIGKILL");
  await running.ended;
});

const endings = [
  ["the end", `log.info("a");`, { code: 0 }, ["a"]],
  ["process.exit", `log.info("a"); process.exit(3);`, { code: 3 }, ["a"]],
  ["a later handler of the end", `process.on("exit", () => { log.info("b"); }); log.info("a");`, { code: 0 }, ["a", "b"]],
  ["an exception", `log.info("a"); setTimeout(() => { throw new TypeError("broken", { cause: new Error("below") }); }, 1);`, { code: 1 }, ["a", "uncaught exception"]],
  ["a refused promise", `log.info("a"); Promise.reject(new TypeError("broken"));`, { code: 1 }, ["a", "unhandled rejection"]],
  ["SIGTERM", `log.info("a"); process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000);`, { signal: "SIGTERM" }, ["a"]],
  ["SIGINT", `log.info("a"); process.kill(process.pid, "SIGINT"); setInterval(() => {}, 1000);`, { signal: "SIGINT" }, ["a"]],
  ["a signal that the application handles", `process.on("SIGTERM", () => { log.info("b"); process.exit(7); }); log.info("a"); process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000);`, { code: 7 }, ["a", "b"]],
];
for (const [name, text, end, wanted] of endings) {
  test(`what waits is written at ${name}`, async (t) => {
    const running = await toFile(t, text);
    const { code, signal, said } = await running.ended;
    assert.deepEqual({ code, signal }, { code: null, signal: null, ...end }, said);
    const all = running.read();
    assert.deepEqual(messages(all), wanted);
    const last = all.at(-1);
    if (wanted[1]?.startsWith("un")) {
      assert.deepEqual([last.level, last.errorType, last.error], ["ERROR", "TypeError", "broken"]);
      assert.match(last.errorStack, /^TypeError: broken\n/);
    }
  });
}

// Levels in turn; every record is numbered.
const FLOOD = `
  const N = 40_000;
  for (let i = 0; i < N; i++) { const f = { n: i, text: "x".repeat(100) }; if (i % 1000 === 999) log.error(f, "e"); else if (i % 4 === 0) log.debug(f, "d"); else if (i % 4 === 1) log.warn(f, "w"); else log.info(f, "i"); }
  log.audit("kept", { action: "flood" });
  say("written");
  const timer = setInterval(() => { if (c.flush()) { clearInterval(timer); say("dropped " + c.stats().dropped); } }, 5);`;

async function flooded(read, running, begin = () => {}) {
  // Nobody reads until all of it has been logged: had a call waited for a reader, this word would not come.
  await running.heard("written");
  begin();
  const [all, { said }] = [records(await read), await running.ended];
  const told = all.filter(({ logger }) => logger === "cordwood.logger");
  const got = all.filter(({ logger }) => logger === "shop");
  const missing = {};
  for (const { dropped } of told) for (const [level, count] of Object.entries(dropped)) missing[level] = (missing[level] ?? 0) + count;
  const sum = Object.values(missing).reduce((a, b) => a + b, 0);
  assert.ok(sum > 0, "nothing was dropped: the flood was too small");
  assert.equal(got.length + sum, 40_001, "what is missing is what was counted");
  assert.match(said, new RegExp(`dropped ${sum}\n`));
  assert.equal(told[0].level, "WARN");
  assert.match(told[0].message, /^\d+ records dropped: the output stalled$/);
  const numbers = got.map(({ n }) => n).filter((n) => n !== undefined);
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), "in their order");
  const count = (level) => got.filter((one) => one.level === level).length;
  assert.equal(count("ERROR"), 40, "no ERROR is dropped while others can be");
  assert.ok(missing.ERROR === undefined && missing.WARN === undefined && missing.DEBUG > 0, JSON.stringify(missing));
  assert.ok(got.some(({ is_audit }) => is_audit === true));
}

test("a full pipe: the lowest level goes first, and is counted", async (t) => {
  const pipe = new Pipe(join(folder(t), "pipe"));
  const running = program(FLOOD, pipe.write, { CORDWOOD_LEVEL: "debug" });
  closeSync(pipe.write);
  await running.heard("written");
  await flooded(pipe.rest(), running);
  pipe.close();
});

test("a full socket: the same", async () => {
  const running = program(FLOOD, "pipe", { CORDWOOD_LEVEL: "debug" });
  const { stdout } = running.child;
  let text = "";
  stdout.pause();
  const read = new Promise((done) => stdout.setEncoding("utf8").on("end", () => done(text)));
  await flooded(read, running, () => stdout.on("data", (part) => (text += part)).resume());
});

test("kill -9 at a full pipe tears no line", async (t) => {
  const pipe = new Pipe(join(folder(t), "pipe"));
  const running = program(`for (let i = 0; i < 5000; i++) log.error({ n: i, text: "x".repeat(i % 700) }, "e"); say("written"); setInterval(() => {}, 1000);`, pipe.write);
  closeSync(pipe.write);
  await running.heard("written");
  running.child.kill("SIGKILL");
  const all = records(await pipe.rest());
  assert.ok(all.length > 50);
  assert.deepEqual(all.map(({ n }) => n), all.map((_, at) => at), "the first of them, without a hole");
  pipe.close();
});

test("a pipe that stays full does not hold the end of the program", async (t) => {
  const pipe = new Pipe(join(folder(t), "pipe"));
  const running = program(`for (let i = 0; i < 5000; i++) log.error({ text: "x".repeat(100) }, "e"); say("written");`, pipe.write);
  closeSync(pipe.write);
  const { code, said } = await running.ended;
  assert.equal(code, 0);
  const missing = Number(/(\d+) records were not written/.exec(said)?.[1]);
  const got = records(await pipe.rest());
  assert.equal(got.length + missing, 5000);
  pipe.close();
});

test("what was dropped and cannot be told is counted at the end", async (t) => {
  const pipe = new Pipe(join(folder(t), "pipe"));
  const running = program(`for (let i = 0; i < 30000; i++) log.info({ text: "x".repeat(100) }, "e"); say("dropped " + c.stats().dropped + ".");`, pipe.write);
  closeSync(pipe.write);
  const { code, said } = await running.ended;
  assert.equal(code, 0);
  assert.doesNotMatch(said, /dropped 0\./);
  const missing = Number(/(\d+) records were not written/.exec(said)?.[1]);
  assert.equal(records(await pipe.rest()).length + missing, 30_000);
  pipe.close();
});

test("nobody reads any more: the program goes on, and what is missing is counted", async (t) => {
  const pipe = new Pipe(join(folder(t), "pipe"));
  const running = program(
    `process.once("SIGUSR2", () => { for (let i = 0; i < 100; i++) log.info("b"); c.flush(); say("went on " + JSON.stringify(c.stats())); process.exit(0); }); log.error("a"); say("first"); setInterval(() => {}, 1000);`,
    pipe.write,
  );
  closeSync(pipe.write);
  await running.heard("first");
  pipe.close();
  running.child.kill("SIGUSR2");
  const { code, said } = await running.ended;
  assert.equal(code, 0, said);
  assert.match(said, /went on \{"written":1,"waiting":0,"dropped":100\}/);
});

test("no standard output at all", async () => {
  const text = `
    const fs = await import("node:fs");
    fs.closeSync(1);
    const mine = new c.Logging({ format: "json" });
    const other = fs.openSync("/dev/null", "w");
    for (let i = 0; i < 60; i++) mine.createLogger("shop").info("a");
    mine.flush();
    say(other + " " + mine.delivery.lost + " went on");`;
  const running = program(text, "ignore");
  const { code, said } = await running.ended;
  assert.equal(code, 0, said);
  assert.match(said, /^1 60 went on/);
});

test("any sequence of full and free, of partial writes: what arrives and what is counted are all", () => {
  // A small generator, so that a failure can be repeated: its seed is in the message.
  for (let seed = 1; seed <= 300; seed++) {
    let state = seed * 2654435761;
    const random = (below) => ((state = (state * 1103515245 + 12345) & 0x7fffffff), state % below);
    let text = "";
    let free = 0;
    const output = { isPipe: true, write: (piece) => { const taken = Math.min(piece.length, free, random(4) === 0 ? random(40) : free); free -= taken; text += piece.subarray(0, taken).toString(); return taken; } };
    const delivery = new Delivery(output, (dropped, count) => JSON.stringify({ told: count, dropped }) + "\n", { records: 5, recordsMax: 20, bytesMax: 2000, endMs: 0 });
    const total = 200;
    for (let n = 0; n < total; n++) {
      if (random(3) === 0) free = random(300);
      const rank = [10, 20, 30, 40, 50, 60][random(6)];
      delivery.push(rank, JSON.stringify({ n, rank, pad: "y".repeat(random(60)) }) + "\n");
      // A piece that is written in part stays beside the bound.
      assert.ok(delivery.waiting <= 45, `seed ${seed}: ${delivery.waiting} wait`);
    }
    free = 1e9;
    while (!delivery.flush());
    const all = records(text);
    const told = all.reduce((sum, one) => sum + (one.told ?? 0), 0);
    const got = all.filter(({ n }) => n !== undefined);
    assert.equal(got.length + told, total, `seed ${seed}`);
    assert.equal(delivery.lost, told, `seed ${seed}`);
    assert.equal(delivery.written, got.length, `seed ${seed}`);
    assert.deepEqual(got.map(({ n }) => n), got.map(({ n }) => n).sort((a, b) => a - b), `seed ${seed}: order`);
    delivery.end();
  }
});
