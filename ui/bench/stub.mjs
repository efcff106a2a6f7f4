// In place of a gateway: the built interface, and the routes that the views of the bench ask, answered at once. Its live stream keeps to
// `cordwood.v1` (docs/api.md): a record costs one credit; without credit 2,000 records wait, and what comes then is told as a gap.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { record, taskLine, TASK_SOURCES } from "./records.mjs";
import { accept } from "./websocket.mjs";

const WAITING_MAX = 2000;
const FRAME_BYTES_MAX = 256 * 1024;
const TICK_MS = 20;
const KINDS = { ".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml", ".woff2": "font/woff2" };
const dist = join(import.meta.dirname, "..", "dist");

/** `most`: so many records, and then no more. */
export async function stub({ rate = 0, most = Infinity, taskLines = 0 } = {}) {
  const told = { sent: 0, inGaps: 0, gaps: 0, streams: 0 };
  const server = createServer((request, answer) => {
    const { pathname } = new URL(request.url, "http://stub");
    const json = (value) => answer.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (pathname === "/api/platform/logs") return json({ items: [], next: null, previous: null, complete: true, searchedBackTo: null });
    if (pathname === "/api/platform/logs/histogram") return json(histogram());
    if (pathname === "/api/platform/logs/facets") return json({ facets: {}, complete: true, records: 0 });
    if (pathname === "/api/tasks/bench/logs") return json({ items: [], total: 0, offset: 0, limit: 1000 });
    if (pathname === "/api/tasks/bench/logs/stats") return json({ total: taskLines, by_level: { INFO: taskLines }, by_source: Object.fromEntries(TASK_SOURCES.map((source) => [source, taskLines / TASK_SOURCES.length])) });
    if (pathname.startsWith("/api/")) return answer.writeHead(404, { "content-type": "application/problem+json" }).end('{"status":404,"title":"not in the bench"}');
    const name = KINDS[extname(pathname)] ? pathname : "/index.html";
    try {
      answer.writeHead(200, { "content-type": KINDS[extname(name)] }).end(readFileSync(join(dist, name)));
    } catch {
      answer.writeHead(404).end();
    }
  });
  server.on("upgrade", (request, socket) => {
    if (request.url.startsWith("/api/tasks/")) tellTask(request, socket, taskLines);
    else tellRecords(request, socket, { rate, most, told });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${server.address().port}`, told, stop: () => (server.closeAllConnections(), server.close()) };
}

function histogram() {
  const end = Math.floor(Date.now() / 40_000) * 40_000;
  const bins = Array.from({ length: 90 }, (_, n) => ({ time: new Date(end - (90 - n) * 40_000).toISOString(), counts: { info: 900 + ((n * 37) % 400), warn: 40, error: 7 } }));
  return { from: bins[0].time, to: new Date(end).toISOString(), binSeconds: 40, bins, records: 90_000, complete: true };
}

function tellRecords(request, socket, { rate, most, told }) {
  let credit = 0;
  let next = 0;
  let begin = 0;
  let lost = 0;
  let lostFrom = 0;
  const waiting = [];
  const page = accept(request, socket, "cordwood.v1", {
    onText(text) {
      const said = JSON.parse(text);
      if (said.type === "start") {
        told.streams += 1;
        credit = said.credit;
        begin = performance.now();
        page.send('{"type":"hello","scope":{"name":"bench","knownBy":"loopback","audit":true},"feed":"redis"}');
        page.send('{"type":"caughtUp","cursor":"v1~0"}');
      }
      if (said.type === "credit") credit += said.n;
      if (said.type === "pause") credit = 0;
      flush();
    },
    onClose: () => clearInterval(timer),
  });

  function flush() {
    while (credit > 0 && waiting.length > 0) {
      let bytes = 0;
      let count = 0;
      while (count < credit && count < waiting.length && bytes < FRAME_BYTES_MAX - 4096) bytes += waiting[count++].length + 1;
      const items = waiting.splice(0, count);
      credit -= count;
      told.sent += count;
      page.send(`{"type":"records","items":[${items.join(",")}],"cursor":"v1~${next}"}`);
    }
    if (lost > 0 && waiting.length <= WAITING_MAX / 2) {
      const [from, to] = [lostFrom, next - 1].map((n) => JSON.parse(record(n, rate)).timestamp);
      page.send(JSON.stringify({ type: "gap", from, to, count: lost, reason: "slow", cursor: `v1~gap${next}` }));
      told.gaps += 1;
      told.inGaps += lost;
      lost = 0;
    }
  }

  // What is due by the clock, so that a timer that comes late changes no rate.
  const timer = setInterval(() => {
    if (begin === 0) return;
    const due = Math.min(most, Math.floor(((performance.now() - begin) / 1000) * rate));
    for (; next < due; next++) {
      if (lost > 0 || waiting.length >= WAITING_MAX + credit) {
        if (lost === 0) lostFrom = next;
        lost += 1;
      } else waiting.push(record(next, rate));
    }
    flush();
  }, TICK_MS);
}

/** All lines that the address asks for, a thousand at a time. */
function tellTask(request, socket, count) {
  const { searchParams } = new URL(request.url, "http://stub");
  const [levels, sources] = [searchParams.getAll("level"), searchParams.getAll("source")];
  let next = 0;
  const timer = setInterval(() => {
    for (let n = 0; n < 1000 && next < count; n++) {
      const line = taskLine(next++);
      if ((levels.length === 0 || levels.includes(line.level)) && (sources.length === 0 || sources.includes(line.source))) page.send(JSON.stringify(line));
    }
    if (next >= count) clearInterval(timer);
  }, TICK_MS);
  const page = accept(request, socket, "", { onClose: () => clearInterval(timer) });
}
