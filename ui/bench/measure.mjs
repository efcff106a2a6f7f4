// What Chromium says of a page: the time of its main thread and its long tasks (a trace), its frames, its heap after a collection, and how long it
// takes from a click until the answer is painted.
import { writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

export const LONG_MS = 50;
const ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--js-flags=--expose-gc"];

export const browser = () => chromium.launch({ executablePath: process.env.CORDWOOD_CHROMIUM ?? "/usr/bin/chromium", args: ARGS });

/** A page in a browser that remembers nothing. What goes wrong in it ends the bench. */
export async function page(browser, { path, remembered = {}, started } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => {
    console.error(error);
    process.exit(1);
  });
  await page.addInitScript((kept) => Object.entries(kept).forEach(([name, value]) => localStorage.setItem(`cordwood.${name}`, JSON.stringify(value))), remembered);
  if (started) await page.addInitScript(started);
  await page.goto(path);
  return page;
}

/** Of a sorted list. */
export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)];
}

/** Traces the page while `run` goes on. Times are in milliseconds. */
export async function traced(page, run, { profile = "" } = {}) {
  const client = await page.context().newCDPSession(page);
  if (profile) {
    await client.send("Profiler.enable");
    await client.send("Profiler.setSamplingInterval", { interval: 500 });
    await client.send("Profiler.start");
  }
  await page.evaluate(() => {
    const frames = (window.benchFrames = []);
    let before = performance.now();
    const next = (now) => {
      frames.push(now - before);
      before = now;
      window.benchFrame = requestAnimationFrame(next);
    };
    window.benchFrame = requestAnimationFrame(next);
  });
  await client.send("Tracing.start", { transferMode: "ReturnAsStream", traceConfig: { includedCategories: ["disabled-by-default-devtools.timeline"] } });
  const begin = performance.now();
  const result = await run();
  const wallMs = performance.now() - begin;
  const complete = new Promise((resolve) => client.once("Tracing.tracingComplete", resolve));
  await client.send("Tracing.end");
  const { stream } = await complete;
  const parts = [];
  for (let eof = false; !eof; ) {
    const part = await client.send("IO.read", { handle: stream, size: 1 << 24 });
    parts.push(part.base64Encoded ? Buffer.from(part.data, "base64").toString("utf8") : part.data);
    eof = part.eof;
  }
  if (profile) {
    const { profile: found } = await client.send("Profiler.stop");
    writeFileSync(profile, JSON.stringify(found));
    console.error(hottest(found));
  }
  const frames = await page.evaluate(() => {
    cancelAnimationFrame(window.benchFrame);
    return window.benchFrames.slice(1);
  });
  await client.detach();
  const tasks = mainThread(JSON.parse(parts.join("")).traceEvents);
  return {
    result,
    wallMs,
    // Of the processor, where the trace says it: what other programs of the machine took from a task is not the page's.
    busyMs: tasks.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    long: tasks.filter(({ ms }) => ms > LONG_MS).length,
    longestMs: tasks.reduce((most, { ms }) => Math.max(most, ms), 0),
    longCpu: tasks.filter(({ cpuMs }) => cpuMs > LONG_MS).length,
    longestCpuMs: tasks.reduce((most, { cpuMs }) => Math.max(most, cpuMs), 0),
    frames: frames.length,
    frameP95Ms: percentile(frames, 0.95),
    frameMaxMs: Math.max(0, ...frames),
  };
}

/** How long each task of the page's main thread took: that of the renderer that did the most. */
function mainThread(events) {
  const mains = new Set(events.filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain").map(({ pid, tid }) => `${pid} ${tid}`));
  const of = new Map();
  for (const { name, pid, tid, dur, tdur } of events) {
    const thread = `${pid} ${tid}`;
    if (name !== "RunTask" || !mains.has(thread) || !dur) continue;
    if (!of.has(thread)) of.set(thread, []);
    of.get(thread).push({ ms: dur / 1000, cpuMs: (tdur ?? dur) / 1000 });
  }
  const sum = (list) => list.reduce((all, { ms }) => all + ms, 0);
  return [...of.values()].sort((a, b) => sum(b) - sum(a))[0] ?? [];
}

/** The functions in which most of the time went, themselves. */
function hottest({ nodes, samples, timeDeltas }) {
  const names = new Map(nodes.map(({ id, callFrame: { functionName, url, lineNumber, columnNumber } }) => [id, `${functionName || "(none)"} ${url.split("/").pop()}:${lineNumber + 1}:${columnNumber}`]));
  const ms = new Map();
  samples.forEach((id, n) => ms.set(names.get(id), (ms.get(names.get(id)) ?? 0) + timeDeltas[n] / 1000));
  return [...ms].sort((a, b) => b[1] - a[1]).slice(0, 25).map(([name, time]) => `${time.toFixed(0).padStart(7)} ms  ${name}`).join("\n");
}

/** Bytes that the page's script holds after everything that can go is gone. */
export async function heapBytes(page) {
  const client = await page.context().newCDPSession(page);
  await client.send("HeapProfiler.enable");
  await client.send("HeapProfiler.collectGarbage");
  await client.send("HeapProfiler.collectGarbage");
  const { usedSize } = await client.send("Runtime.getHeapUsage");
  await client.detach();
  return usedSize;
}

/** From the click or key itself to the picture that shows its answer: Event Timing of the browser, in steps of 8 ms; 16 stands for all below. */
export async function paintedMs(page, act) {
  await page.evaluate(() => {
    window.benchEvents = [];
    window.benchObserver = new PerformanceObserver((list) => window.benchEvents.push(...list.getEntries().map(({ duration }) => duration)));
    window.benchObserver.observe({ type: "event", durationThreshold: 16 });
  });
  await act();
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 60)))));
  return page.evaluate(() => {
    window.benchObserver.disconnect();
    return Math.max(16, ...window.benchEvents);
  });
}
