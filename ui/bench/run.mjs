// The budget of the interface, measured: node bench/run.mjs [SCENARIO ...] [--rate N] [--seconds N] [--minutes N] [--profile FILE] [--json FILE]
// Scenarios: feed, heap, scroll, task, first, whole. Without one, all. `first` and `whole` start `cordwood standalone` of $CORDWOOD_BIN_DIR.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runnerImport } from "vite";
import { browser as start, heapBytes, LONG_MS, page as open, paintedMs, percentile, traced } from "./measure.mjs";
import { record } from "./records.mjs";
import { stub } from "./stub.mjs";

// The tests start it too; it is written in TypeScript, which this Node does not read by itself.
const { standalone, write } = (await runnerImport(join(import.meta.dirname, "..", "tests", "standalone.ts"))).module;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rate: { type: "string" }, seconds: { type: "string", default: "60" }, minutes: { type: "string", default: "10" }, profile: { type: "string", default: "" }, json: { type: "string" } },
});
const seconds = Number(values.seconds);
const rates = values.rate ? [Number(values.rate)] : [5000, 20_000];
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const rows = [];
/** One row, as the table of docs/figures.md has it. */
const say = (what, figures, limit = "") => {
  rows.push({ what, limit, figures });
  console.log(`| ${what} | ${limit} | ${figures} |`);
};
const ms = (n) => `${n < 10 ? n.toFixed(1) : Math.round(n)} ms`;
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const frames = (m) => `frames p95 ${ms(m.frameP95Ms)}, longest ${ms(m.frameMaxMs)}`;
const tasks = (m) => `${m.long} tasks over ${LONG_MS} ms (longest ${ms(m.longestMs)}; of processor time ${m.longCpu}, ${ms(m.longestCpuMs)})`;

const browser = await start();

/** The rows that a page has, whatever of them is drawn. */
const drawn = (page) => page.waitForFunction(() => document.querySelectorAll("[data-id]").length > 20);

/** By how much a count grows in the time. */
async function during(count) {
  const before = count();
  await wait(seconds * 1000);
  return count() - before;
}

async function feed() {
  for (const rate of rates) {
    const gateway = await stub({ rate });
    const page = await open(browser, { path: `${gateway.address}/` });
    await drawn(page);
    await wait(2000);
    const m = await traced(page, () => during(() => gateway.told.sent), { profile: values.profile });
    const count = m.result;
    say(
      `stub feed, ${rate} lines/s for ${seconds} s`,
      `${Math.round(count / (m.wallMs / 1000))} lines/s shown; ${((m.busyMs / count) * 1000).toFixed(2)} ms of the main thread per 1,000; ${tasks(m)}; ${frames(m)}; ${gateway.told.inGaps} lines in ${gateway.told.gaps} gaps`,
      rate === 5000 ? "no long task" : "frames p95 33 ms",
    );
    await page.context().close();
    gateway.stop();
  }
}

async function heap() {
  for (const wrap of [false, true]) {
    const gateway = await stub({ rate: rates[0] });
    const page = await open(browser, { path: `${gateway.address}/`, remembered: { wrap } });
    await drawn(page);
    await wait(60_000);
    const first = await heapBytes(page);
    await wait((Number(values.minutes) - 1) * 60_000);
    const last = await heapBytes(page);
    say(`heap at ${rates[0]} lines/s${wrap ? ", lines wrapped" : ""}, minute 1 and minute ${values.minutes}`, `${mib(first)}, ${mib(last)} (${(((last - first) / first) * 100).toFixed(1)}%)`, "flat");
    await page.context().close();
    gateway.stop();
  }
}

async function scroll() {
  const gateway = await stub({ rate: 20_000, most: 100_000 });
  const page = await open(browser, { path: `${gateway.address}/` });
  const list = page.locator(".scroller").first();
  while (gateway.told.sent + gateway.told.inGaps < 100_000) await wait(200);
  await wait(1500);
  await page.keyboard.press("Space");
  await wait(500);
  const client = await page.context().newCDPSession(page);
  const box = await list.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const wheel = await traced(page, () => client.send("Input.synthesizeScrollGesture", { x, y, yDistance: 60_000, speed: 8000, gestureSourceType: "mouse" }), { profile: values.profile });
  say("100,000 rows, the wheel at 8,000 pixels/s", `${tasks(wheel)}; ${frames(wheel)}; main thread ${Math.round((wheel.busyMs / wheel.wallMs) * 100)}% busy`, "no long task");
  const sweep = await traced(page, () =>
    list.evaluate(async (node) => {
      const end = node.scrollHeight;
      for (let n = 300; n >= 0; n--) {
        node.scrollTop = (end * n) / 300;
        await new Promise((resolve) => requestAnimationFrame(resolve));
      }
    }),
  );
  say("100,000 rows, from end to beginning in 300 jumps", `${tasks(sweep)}; ${frames(sweep)}; main thread ${Math.round((sweep.busyMs / sweep.wallMs) * 100)}% busy`, "no long task");
  await page.context().close();
  gateway.stop();
}

async function task() {
  const taskLines = 50_000;
  const gateway = await stub({ taskLines });
  const all = ["DEBUG", "INFO", "WARNING", "ERROR"].map((level) => `level=${level}`).join("&");
  const acts = [
    ["a level out", (page) => page.getByRole("group", { name: "Levels" }).getByRole("button").nth(1).click()],
    ["a level alone", (page) => page.getByRole("group", { name: "Levels" }).getByRole("button").nth(3).click(), "level=INFO"],
    ["a source", (page) => page.getByRole("group", { name: "Sources" }).getByRole("button").nth(2).click()],
    ["a source back out", (page) => page.getByRole("group", { name: "Sources" }).getByRole("button").nth(0).click(), `${all}&source=importer`],
    ["a letter of a text", (page) => page.getByRole("searchbox", { name: "Text in the message" }).press("9")],
  ];
  const found = [];
  for (const [name, act, query = all] of acts) {
    const page = await open(browser, { path: `${gateway.address}/task/bench?${query}` });
    const wanted = query === all ? taskLines : 1000;
    await page.waitForFunction((count) => Number(document.querySelector("[data-id]")?.getAttribute("aria-setsize")) >= count, wanted);
    await wait(1500);
    found.push([name, await paintedMs(page, () => act(page))]);
    await page.context().close();
  }
  say("a task with 50,000 lines in the page, from click to picture (steps of 8 ms)", found.map(([name, time]) => `${name} ${time} ms`).join("; "), "50 ms");
  gateway.stop();
}

/** Runs in the page before its own scripts: when the first record was painted. */
function firstRecord() {
  const look = () => {
    if (!document.querySelector("[data-id]")) return requestAnimationFrame(look);
    requestAnimationFrame(() => setTimeout(() => (window.benchFirst = performance.now())));
  };
  requestAnimationFrame(look);
}

async function first() {
  const gateway = await standalone();
  try {
    await write(gateway.folder, "bench", Array.from({ length: 5000 }, (_, n) => record(n, 5000)));
    for (;;) {
      const { items } = await (await fetch(`${gateway.address}/api/platform/logs?limit=100`)).json();
      if (items.length === 100) break;
      await wait(200);
    }
    await wait(3000);
    const times = [];
    for (let n = 0; n < 12; n++) {
      const page = await open(browser, { path: `${gateway.address}/`, started: firstRecord });
      await page.waitForFunction(() => window.benchFirst > 0);
      times.push(
        await page.evaluate(() => {
          const loaded = performance.getEntriesByType("resource");
          const end = (part) => Math.max(0, ...loaded.filter(({ name, responseEnd }) => part.test(name) && responseEnd < window.benchFirst).map(({ responseEnd }) => responseEnd));
          const asked = loaded.find(({ name }) => /\/api\/platform\/logs\?/.test(name));
          return { page: performance.getEntriesByType("navigation")[0].responseEnd, scripts: end(/\.js$/), asked: asked?.startTime ?? 0, answered: asked?.responseEnd ?? 0, painted: window.benchFirst };
        }),
      );
      await page.context().close();
    }
    // The first two warm the gateway.
    const counted = times.slice(2);
    const median = (part) => ms(percentile(counted.map((one) => one[part]), 0.5));
    say(
      "navigation to first record painted, nothing in the browser's cache, ten times",
      `median ${median("painted")}, longest ${ms(Math.max(...counted.map(({ painted }) => painted)))} (of it until the page is there ${median("page")}, its scripts ${median("scripts")}, the first page of records asked for ${median("asked")}, answered ${median("answered")})`,
      "500 ms",
    );
  } finally {
    await gateway.stop();
  }
}

async function whole() {
  const rate = rates[0];
  const gateway = await standalone();
  try {
    await write(gateway.folder, "bench", [record(0, rate)]);
    const page = await open(browser, { path: `${gateway.address}/` });
    let received = 0;
    let gaps = 0;
    const client = await page.context().newCDPSession(page);
    await client.send("Network.enable");
    client.on("Network.webSocketFrameReceived", ({ response }) => {
      if (response.payloadData.startsWith('{"type":"records"')) received += JSON.parse(response.payloadData).items.length;
      if (response.payloadData.startsWith('{"type":"gap"')) gaps += 1;
    });
    await page.waitForSelector("[data-id]");
    let next = 1;
    const begin = performance.now();
    const writing = setInterval(() => {
      const due = Math.floor(((performance.now() - begin) / 1000) * rate);
      const lines = [];
      for (; next < due; next++) lines.push(live(next, rate));
      void write(gateway.folder, "bench", lines);
    }, 50);
    await wait(5000);
    const m = await traced(page, () => during(() => received), { profile: values.profile });
    const count = m.result;
    clearInterval(writing);
    say(
      `end to end: files, standalone, page; ${rate} lines/s for ${seconds} s`,
      `${Math.round(count / (m.wallMs / 1000))} lines/s came; ${((m.busyMs / count) * 1000).toFixed(2)} ms of the main thread per 1,000; ${tasks(m)}; ${frames(m)}; ${gaps} gaps`,
      "no long task",
    );
    await page.context().close();
  } finally {
    await gateway.stop();
  }
}

/** The same record as of now: what is old would be no live line. */
const live = (n, rate) => JSON.stringify({ ...JSON.parse(record(n, rate)), id: undefined, timestamp: new Date().toISOString() });

const scenarios = { feed, heap, scroll, task, first, whole };
console.log("| what | limit | |\n|---|---|---|");
try {
  for (const name of positionals.length > 0 ? positionals : Object.keys(scenarios)) {
    if (!scenarios[name]) throw new Error(`no scenario is called ${name}: ${Object.keys(scenarios).join(", ")}`);
    await scenarios[name]();
  }
  if (values.json) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
} finally {
  await browser.close();
}
