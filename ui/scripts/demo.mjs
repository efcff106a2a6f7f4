// An invented shop whose logs come as long as this runs: `npm run demo` starts `cordwood standalone` on them and the interface with hot reload.
// `--fast`: ten times as many lines. `--no-dev`: without the development server (the gateway's own pages).
import { spawn } from "node:child_process";
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const fast = process.argv.includes("--fast");
const port = process.env.CORDWOOD_DEMO_PORT ?? "9600";
const top = mkdtempSync(join(tmpdir(), "cordwood-demo-"));
chmodSync(top, 0o755);
const folder = join(top, "logs");
const resources = join(top, "resources");
mkdirSync(folder);
mkdirSync(resources);

let seed = 11;
const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
const pick = (list) => list[random(list.length)];
const hex = (n) => Array.from({ length: n }, () => random(16).toString(16)).join("");
const tenants = ["acme", "globex", "initech"];

const STACK = [
  "PaymentTimeout: provider did not answer within 2000 ms",
  "    at charge (/app/src/payment/provider.ts:88:13)",
  "    at async placeOrder (/app/src/orders/place.ts:41:5)",
  "    at async handle (/app/node_modules/fastify/lib/handleRequest.js:143:18)",
].join("\n");

function line(at) {
  const base = { time: new Date(at).toISOString(), tenantSlug: pick(tenants), requestId: hex(12), traceId: hex(32) };
  const order = 4000 + random(900);
  const roll = random(1000);
  if (roll < 12) return { ...base, level: "error", service: "checkout", msg: `payment for order ${order} failed`, orderId: order, err: { type: "PaymentTimeout", message: "provider did not answer within 2000 ms", stack: STACK } };
  if (roll < 18) return { ...base, level: "error", service: "inventory", msg: `connection to stock-db:5432 reset by peer`, err: { type: "ConnectionReset", message: "connection reset by peer" }, attempt: 1 + random(4) };
  if (roll < 60) return { ...base, level: "warn", service: "checkout", msg: `payment provider slow: ${800 + random(1900)} ms`, elapsedMs: 800 + random(1900), orderId: order };
  if (roll < 90) return { ...base, level: "warn", service: "storefront", msg: `cache miss for /products/${random(300)}`, path: `/products/${random(300)}` };
  if (roll < 230) return { ...base, level: "debug", service: "inventory", msg: `reserved ${1 + random(4)} of sku ${hex(6)} in warehouse ${pick(["eu-1", "eu-2", "us-1"])}` };
  if (roll < 240) return { ...base, level: "info", service: "deploy", msg: `\u001b[32mrolled out\u001b[0m \u001b[1mcheckout\u001b[0m v1.${random(90)}.0 to ${pick(["eu", "us"])}` };
  if (roll < 256) return { ...base, level: "info", service: "agents", logger: "madrox.server", msg: "Instance spawned successfully", module: "server", function: "spawn_instance", line: 142 };
  if (roll < 270) return { ...base, level: "info", service: "agents", logger: "audit.instance", msg: `Instance worker-${random(40)} spawned`, action: "instance_spawn", metadata: { instance_id: hex(6), role: pick(["worker", "orchestrator"]) } };
  if (roll < 278) return { ...base, level: pick(["info", "info", "warn"]), service: "plugins", plugin: "hello-plugin", pid: 12345, msg: `fetched page ${random(90)} of the catalogue` };
  if (roll < 280) return { ...base, level: "warn", service: "plugins", plugin: "hello-plugin", action: "restart", msg: "Plugin restarted: hello-plugin (attempt 1, after 2 s)" };
  if (roll < 480) return { ...base, level: "info", service: "checkout", msg: `order ${order} placed`, orderId: order, total: random(30000) / 100, items: [{ sku: hex(6), n: 1 }, { sku: hex(6), n: 2 }] };
  if (roll < 520) return { ...base, level: "info", service: "mail", msg: `receipt for order ${order} sent to customer ${random(999)}` };
  return { ...base, level: "info", service: "storefront", msg: `GET /products/${random(300)} ${pick([200, 200, 200, 304])} ${3 + random(70)} ms`, status: 200, userAgent: "Mozilla/5.0 (X11; Linux x86_64)", durationMs: 3 + random(70) };
}

const write = (lines) => appendFileSync(join(folder, "shop.log"), lines.map((one) => `${JSON.stringify(one)}\n`).join(""));
const now = Date.now();
const history = [];
// A quiet day, so that errors have a trend, and a busy last hour.
for (let at = now - 23 * 3600_000; at < now - 55 * 60_000; at += 4000 + random(16_000) * (1 + Math.sin(at / 8_000_000))) history.push(line(Math.floor(at)));
for (let at = now - 55 * 60_000; at < now; at += 60 + random(280) * (1 + Math.sin(at / 400_000))) history.push(line(Math.floor(at)));
write(history);
// A run of a task, and its steps.
const step = (n) => ({ time: new Date(now - (40 - n) * 1000).toISOString(), level: n === 33 ? "warn" : "info", service: "worker", source: n % 3 ? "plugin" : "superset_api", taskId: "4711", msg: n === 33 ? "dataset orders_2026 has no owner" : `migrated dashboard ${n} of 40`, metadata: { progress: Math.round((n / 40) * 100), dashboard: n } });
write(Array.from({ length: 40 }, (_, n) => step(n + 1)));

const program = join(process.env.CORDWOOD_BIN_DIR ?? "../target/debug", "cordwood");
const standalone = spawn(
  program,
  ["standalone", join(folder, "*.log"), "--data-dir", join(top, "data"), "--resources", resources, "--listen", `127.0.0.1:${port}`],
  { stdio: ["ignore", "pipe", "pipe"] },
);
/** What an administrator of the shop has set. */
async function administer(address) {
  const put = (path, body) => fetch(`${address}/api/admin/${path}`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const policy = (name, spec) => put(`retention/${name}`, { apiVersion: "cordwood.dev/v1alpha1", kind: "LogRetentionPolicy", metadata: { name }, spec });
  await policy("default", {});
  await policy("shop", { match: { services: ["checkout", "mail"] }, priority: 10, legalHold: true });
  await put("levels", { level: "DEBUG" });
  await put("levels", { target: "search", level: "WARN", ttlSeconds: 1800 });
  await put("levels", { target: "inventory", level: "DEBUG", ttlSeconds: 7200, debugScopes: true });
}
let dev;
for (const stream of [standalone.stdout, standalone.stderr]) {
  createInterface({ input: stream }).on("line", (said) => {
    console.log(said);
    const address = /answering on (http:\/\/[^/]+)/.exec(said)?.[1];
    if (address) void administer(address).catch((error) => console.log(String(error)));
    if (!address || dev || process.argv.includes("--no-dev")) return;
    dev = spawn("npx", ["vite", "--host", "127.0.0.1"], { stdio: "inherit", env: { ...process.env, CORDWOOD_GATEWAY: address } });
  });
}
const writing = setInterval(() => write(Array.from({ length: (fast ? 10 : 1) * (1 + random(3)) }, () => line(Date.now()))), 400);

function end() {
  clearInterval(writing);
  dev?.kill();
  standalone.kill("SIGINT");
}
process.on("SIGINT", end);
process.on("SIGTERM", end);
standalone.on("exit", (code) => {
  clearInterval(writing);
  dev?.kill();
  rmSync(top, { recursive: true, force: true });
  process.exitCode = code ?? 0;
});
