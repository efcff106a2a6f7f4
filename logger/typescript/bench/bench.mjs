// Overhead beside pino: the same fields, the same destination, in the same run. Prints nanoseconds of CPU time a
// record (the median of the rounds), ratios, and its share of a core at 1,000 records a second; it judges nothing.
//
//   npm run bench            (build first: npm run build)

import { closeSync, openSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const pino = require("pino");
const { Logging, withContext } = require("../dist/index.js");

const RECORDS = Number(process.env.RECORDS ?? 100_000);
const ROUNDS = Number(process.env.ROUNDS ?? 9);
const fd = openSync("/dev/null", "w");
const order = { orderId: 17, amount: 12.5, currency: "EUR", paid: true, path: "/api/orders/17" };
const nested = { user: { id: "u-1", roles: ["admin", "buyer"] }, items: [{ sku: "a-1", n: 2 }, { sku: "b-2", n: 1 }] };
const bound = { requestId: "r-1", tenantId: "t-1", userId: "u-1" };

// pino twice: as it is by itself (one write a line), and with a buffer as ours has.
const base = { service: "shop", logger: "shop" };
const direct = pino({ base, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: "/dev/null", sync: true }));
const buffered = pino({ base, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: "/dev/null", sync: true, minLength: 8192 }));
const output = { isPipe: false, write: (piece) => writeSync(fd, piece) };
const ours = new Logging({ env: {}, output, format: "json" }).createLogger("shop");

const failed = new Error("card refused", { cause: new Error("connection reset") });
const cases = {
  "message": (log) => log.info("order paid"),
  "five fields": (log) => log.info(order, "order paid"),
  "nested fields": (log) => log.info(nested, "order paid"),
  "child, five fields": (log) => log.info(order, "order paid"),
  "error": (log) => log.error({ err: failed }, "payment failed"),
  "below the level": (log) => log.debug(order, "order paid"),
};

function once(run, log) {
  const before = process.cpuUsage();
  for (let i = 0; i < RECORDS; i++) run(log);
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / RECORDS;
}

const median = (all) => all.sort((a, b) => a - b)[all.length >> 1];

console.log("case                     ours    pino  pino buffered   ours/pino  ours/pino buffered   at 1k/s");
for (const [name, run] of Object.entries(cases)) {
  const isChild = name.startsWith("child");
  const loggers = [ours, direct, buffered].map((log) => (isChild ? log.child(bound) : log));
  const times = [[], [], []];
  for (let round = 0; round < ROUNDS; round++) loggers.forEach((log, at) => times[at].push(once(run, log)));
  const [a, b, c] = times.map(median);
  console.log(`${name.padEnd(22)} ${a.toFixed(0).padStart(6)}  ${b.toFixed(0).padStart(6)}  ${c.toFixed(0).padStart(13)}   ${(a / b).toFixed(2).padStart(9)}  ${(a / c).toFixed(2).padStart(18)}  ${(a / 10_000).toFixed(2).padStart(7)}%`);
}

// A request's context: fields that a logger finds by itself. pino needs a child for it, so that is what stands beside it.
const times = [[], []];
const child = buffered.child(bound);
for (let round = 0; round < ROUNDS; round++) {
  times[0].push(withContext(bound, () => once(cases["five fields"], ours)));
  times[1].push(once(cases["five fields"], child));
}
const [a, b] = times.map(median);
console.log(`${"context, five fields".padEnd(22)} ${a.toFixed(0).padStart(6)}  ${"".padStart(6)}  ${b.toFixed(0).padStart(13)}   ${"".padStart(9)}  ${(a / b).toFixed(2).padStart(18)}  ${(a / 10_000).toFixed(2).padStart(7)}%`);
closeSync(fd);
