// Requests and levels over HTTP: Node, Express, Fastify, Fetch; a running program changes its levels at once, and back when their time is over.

import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { levelHandler, levelFetch, requestContext, fastifyPlugin } from "../dist/http.js";
import { folder, inMemory, program, records } from "./parts.mjs";

const HEADERS = { "x-tenant-id": "t-1", "x-request-id": "r-1", traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };
const WANTED = { tenantId: "t-1", requestId: "r-1", traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" };

const listen = (server) => new Promise((done) => server.listen(0, "127.0.0.1", () => done(`http://127.0.0.1:${server.address().port}`)));
const put = (address, body, method = "PUT") => fetch(`${address}/cordwood/level`, { method, body: method === "GET" ? undefined : body });

function hasWanted(record) {
  for (const [key, value] of Object.entries(WANTED)) assert.equal(record[key], value);
}

test("a level of a running program: at once, and back after ttlSeconds", async (t) => {
  const path = join(folder(t), "out.log");
  const file = openSync(path, "a");
  const text = `
    const http = await import("node:http");
    const server = http.createServer((request, response) => {
      if (request.url === "/say") { const db = log.named("db.pool"); log.debug("debug"); db.trace("trace"); log.scope("work", () => {}); c.flush(); return response.end(); }
      handler(request, response);
    });
    const handler = c.levelHandler();
    server.listen(0, "127.0.0.1", () => say("port " + server.address().port + "."));`;
  const running = program(text, file);
  closeSync(file);
  let said = "";
  running.child.stderr.on("data", (part) => (said += part));
  await running.heard(".");
  const address = `http://127.0.0.1:${/port (\d+)/.exec(said)[1]}`;
  const now = async () => {
    await fetch(`${address}/say`);
    return records(readFileSync(path, "utf8")).map(({ message }) => message);
  };
  assert.deepEqual(await now(), []);
  const change = { level: "DEBUG", targets: { db: "TRACE" }, scopes: true, ttlSeconds: 2 };
  const answer = await put(address, JSON.stringify(change));
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), change);
  const all = ["debug", "trace", "[work][Entry]", "[work][Coherence:OK]", "[work][Exit]"];
  assert.deepEqual(await now(), all);
  // Its time is over when the handler says so; then nothing more may come.
  for (;;) {
    const state = await (await put(address, undefined, "GET")).json();
    if (state.ttlSeconds === undefined) {
      assert.deepEqual(state, { level: "INFO", targets: {}, scopes: false });
      break;
    }
    await new Promise((done) => setTimeout(done, 20));
  }
  const before = (await now()).length;
  assert.equal((await now()).length, before);
  running.child.kill("SIGKILL");
  await running.ended;
});

const mistakes = [
  ["PUT", "{", 400], ["PUT", "[]", 400], ["PUT", "null", 400], ["PUT", '{"level":"LOUD"}', 400], ["PUT", '{"other":1}', 400],
  ["PUT", `{"level":"INFO"${" ".repeat(65_536)}}`, 413], ["POST", "{}", 405], ["DELETE", "", 405],
];
for (const kind of ["node", "fetch"]) {
  test(`mistakes change nothing (${kind})`, async (t) => {
    const { logging } = inMemory();
    const server = createServer(levelHandler(logging));
    const address = await listen(server);
    t.after(() => server.close());
    const handle = levelFetch(logging);
    const ask = (path, init) => (kind === "node" ? fetch(address + path, init) : handle(new Request("http://h" + path, init)));
    for (const [method, body, status] of mistakes) {
      const answer = await ask("/cordwood/level", { method, body: body || undefined });
      assert.equal(answer.status, status, `${method} ${body.slice(0, 30)}`);
      assert.equal(answer.headers.get("content-type"), "application/problem+json");
      if (status === 405) assert.equal(answer.headers.get("allow"), "GET, PUT");
      assert.equal((await answer.json()).status, status);
    }
    assert.equal((await ask("/cordwood/levels", { method: "GET" })).status, 404);
    const good = await ask("/cordwood/level?x=1", { method: "GET" });
    assert.deepEqual(await good.json(), { level: "INFO", targets: {}, scopes: false });
    assert.equal((await ask("/cordwood/level", { method: "PUT", body: '{"level":"warning"}' })).status, 200);
    assert.equal(logging.levels.state().level, "WARN");
  });
}

test("Express: the context of a request, and levels", async (t) => {
  const { default: express } = await import("express");
  const { log, logging, records: all } = inMemory();
  const app = express();
  app.use(requestContext(logging));
  app.use(express.json());
  app.use(levelHandler(logging));
  app.get("/", async (request, response) => {
    await new Promise((done) => setTimeout(done, 1));
    log.info("by context");
    request.log.info("by the request");
    response.end();
  });
  const server = app.listen(0, "127.0.0.1");
  await new Promise((done) => server.on("listening", done));
  t.after(() => server.close());
  const address = `http://127.0.0.1:${server.address().port}`;
  await Promise.all([fetch(address, { headers: HEADERS }), fetch(address)]);
  const got = all();
  assert.equal(got.length, 4);
  assert.equal(got.filter(({ requestId }) => requestId === undefined).length, 2, "no line of one request has another's fields");
  got.filter(({ requestId }) => requestId !== undefined).forEach(hasWanted);
  const answer = await fetch(`${address}/cordwood/level`, { method: "PUT", headers: { "content-type": "application/json" }, body: '{"level":"TRACE"}' });
  assert.equal(answer.status, 200);
  assert.equal(logging.levels.state().level, "TRACE");
});

test("Fastify: the context of a request, and levels", async (t) => {
  const { default: fastify } = await import("fastify");
  const { log, logging, records: all } = inMemory();
  const app = fastify();
  app.register(fastifyPlugin(logging), { levels: true });
  app.get("/", async () => {
    await new Promise((done) => setTimeout(done, 1));
    log.info("by context");
    return "";
  });
  const address = await app.listen({ port: 0, host: "127.0.0.1" });
  t.after(() => app.close());
  await Promise.all([fetch(address, { headers: HEADERS }), fetch(address)]);
  const got = all();
  assert.deepEqual(got.filter(({ requestId }) => requestId === undefined).length, 1);
  hasWanted(got.find(({ requestId }) => requestId !== undefined));
  for (const [type, level] of [["application/json", "TRACE"], ["text/plain", "DEBUG"]]) {
    const answer = await fetch(`${address}/cordwood/level`, { method: "PUT", headers: { "content-type": type }, body: JSON.stringify({ level }) });
    assert.equal(answer.status, 200);
    assert.equal((await answer.json()).level, level);
    assert.equal(logging.levels.state().level, level);
  }
});

test("a request of every kind", () => {
  const { logging, records: all } = inMemory();
  const kinds = [new Headers(HEADERS), new Request("http://h/", { headers: HEADERS }), { headers: HEADERS }, HEADERS, { ...HEADERS, "x-tenant-id": ["t-1", "t-2"] }];
  for (const kind of kinds) logging.createRequestLogger(kind).info("m");
  const got = all();
  assert.equal(got.length, kinds.length);
  got.forEach(hasWanted);
  for (const none of [undefined, null, 5, "text", {}, [], new Headers()]) logging.createRequestLogger(none).info("m");
  assert.ok(all().slice(kinds.length).every((one) => one.requestId === undefined));
});
