// One record of each kind, so that together they have every field that an application can give; printed by the logger for TypeScript.

import { createLogger, createRequestLogger, TaskContext } from "../typescript/dist/index.mjs";

const log = createLogger("storefront", { caller: true });
const headers = {
  "x-tenant-id": "t-1", "x-tenant-slug": "acme", "x-user-id": "u-1", "x-session-id": "s-1", "x-impersonator-id": "i-1", "x-request-id": "r-1",
  traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
};
createRequestLogger(headers, log).withSource("checkout").warn({ action: "pay", orderId: 17, items: [{ sku: "a-1" }], none: null }, "slow answer");

const below = new RangeError("connection reset");
class PaymentError extends Error {}
log.named("db.pool").error({ err: Object.assign(new PaymentError("card refused", { cause: below }), { code: "card_declined" }) }, "payment failed");

new TaskContext(log, 42).logger.info({ metadata: { progress: 50 } }, "half done");
log.named("audit.instance").audit("Instance spawned", { action: "instance_spawn", metadata: { instance_id: "abc123" } });
log.info({ plugin: "hello-plugin", pid: 12345 }, "plugin said \"hi\"\n\u65e5\u672c");
log.debug({ step: 1 }, "below");
