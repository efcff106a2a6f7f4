// Invented records, the same ones in every run: record n is made of n alone.
const BEGIN_MS = Date.parse("2026-11-21T06:00:00Z");
const SERVICES = ["storefront", "checkout", "inventory", "mail", "search", "payments", "ledger", "gate"];
const LEVELS = ["INFO", "INFO", "INFO", "INFO", "DEBUG", "INFO", "WARN", "INFO", "INFO", "ERROR"];
const TASK_LEVELS = ["INFO", "DEBUG", "INFO", "WARNING", "INFO", "INFO", "ERROR", "INFO"];
export const TASK_SOURCES = ["system", "plugin", "superset_api", "importer"];

/** A number that looks as if by chance, of n alone. */
function mixed(n, salt = 0) {
  let x = Math.imul(n + 1 + salt * 7919, 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 15), 0x85ebca6b);
  return (x ^ (x >>> 13)) >>> 0;
}

const hex = (n, salt, digits) => mixed(n, salt).toString(16).padStart(8, "0").repeat(4).slice(0, digits);

/** The time of record n at so many a second, in microseconds. */
const micros = (n, rate) => BEGIN_MS * 1000 + Math.floor((n * 1e6) / rate);
function timestamp(us) {
  return new Date(Math.floor(us / 1000)).toISOString().replace("Z", `${String(us % 1000).padStart(3, "0")}Z`);
}

/** The JSON of record n, as the gateway writes it: 470 bytes in the mean. */
export function record(n, rate) {
  const us = micros(n, rate);
  const service = SERVICES[mixed(n) % SERVICES.length];
  return JSON.stringify({
    id: `${us}.0-${(n >> 8).toString(16)}-${(n & 255).toString(16)}`,
    timestamp: timestamp(us),
    level: LEVELS[mixed(n, 1) % LEVELS.length],
    category: "system",
    tenantId: "acme",
    tenantSlug: "acme",
    traceId: hex(n, 2, 32),
    service,
    message: `GET /products/${mixed(n, 3) % 9000} 200 ${mixed(n, 4) % 400} ms for customer ${hex(n, 5, 12)}, ${mixed(n, 6) % 30} rows of the catalogue`,
    data: { status: 200, durationMs: mixed(n, 4) % 400, orderId: mixed(n, 7) % 100000 },
    node: `node-${mixed(n, 8) % 6}`,
    namespace: "shop",
    pod: `${service}-${hex(n % 40, 9, 5)}-x7k2p`,
    container: service,
    stream: "stdout",
  });
}

/** Line n of a task, as its stream says it. */
export function taskLine(n) {
  return {
    id: n + 1,
    task_id: "bench",
    timestamp: timestamp(micros(n, 1000)),
    level: TASK_LEVELS[mixed(n, 1) % TASK_LEVELS.length],
    source: TASK_SOURCES[mixed(n, 2) % TASK_SOURCES.length],
    message: `migrated dashboard ${n} of dataset ${mixed(n, 3) % 900} in ${mixed(n, 4) % 900} ms`,
    ...(n % 10 === 0 ? { metadata: { progress: n % 100, dashboard: n } } : {}),
  };
}
