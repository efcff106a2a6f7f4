// HTTP: a request's context for Express, Fastify and whatever speaks Fetch, and the level handler `GET/PUT /cordwood/level`, which exists only
// where an application mounts it.

import type { IncomingMessage, ServerResponse } from "node:http";
import { withContext } from "./context";
import { requestFields, type HeadersLike } from "./headers";
import { LevelError, type Levels } from "./levels";
import type { Logger } from "./logger";
import type { Logging } from "./logging";

export const LEVEL_PATH = "/cordwood/level";
export const BODY_BYTES_MAX = 65_536;

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** What the level handler answers. `body` is undefined where there were more bytes than BODY_BYTES_MAX. */
export function answer(levels: Levels, method: string, body: string | undefined): Answer {
  if (method === "GET") return said(200, levels.state());
  if (method !== "PUT") return problem(405, "Method Not Allowed", "GET and PUT are answered here", { allow: "GET, PUT" });
  if (body === undefined) return problem(413, "Content Too Large", `at most ${BODY_BYTES_MAX} bytes`);
  try {
    return said(200, levels.change(JSON.parse(body)));
  } catch (error) {
    if (error instanceof LevelError || error instanceof SyntaxError) return problem(400, "Bad Request", error.message);
    throw error;
  }
}

function said(status: number, what: object): Answer {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify(what) };
}

function problem(status: number, title: string, detail: string, headers: Record<string, string> = {}): Answer {
  return {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
    body: JSON.stringify({ type: "about:blank", title, status, detail }),
  };
}

const notFound = () => problem(404, "Not Found", `only ${LEVEL_PATH} is answered here`);

function isLevelPath(url: string | undefined): boolean {
  return (url ?? "").split("?")[0] === LEVEL_PATH;
}

type Incoming = IncomingMessage & { originalUrl?: string; body?: unknown };
type Next = (error?: unknown) => void;

/** The level handler for Node's `http`, Connect and Express. Another path is the next handler's, or 404 where there is none. */
export function levelHandler(logging: Logging): (request: Incoming, response: ServerResponse, next?: Next) => void {
  return (request, response, next) => {
    const send = ({ status, headers, body }: Answer) => {
      response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
      response.end(body);
    };
    if (!isLevelPath(request.originalUrl ?? request.url)) return next === undefined ? send(notFound()) : next();
    const method = request.method ?? "GET";
    if (method !== "PUT") return send(answer(logging.levels, method, ""));
    // A parser before us may have read the body already.
    if (request.body !== undefined && request.readableEnded) return send(answer(logging.levels, method, textOf(request.body)));
    const parts: Buffer[] = [];
    let bytes = 0;
    request.on("data", (part: Buffer) => {
      bytes += part.length;
      if (bytes <= BODY_BYTES_MAX) parts.push(part);
    });
    request.on("end", () => send(answer(logging.levels, method, bytes > BODY_BYTES_MAX ? undefined : Buffer.concat(parts).toString("utf8"))));
    request.on("error", () => response.destroy());
  };
}

function textOf(body: unknown): string | undefined {
  const text = typeof body === "string" ? body : Buffer.isBuffer(body) ? body.toString("utf8") : JSON.stringify(body);
  return Buffer.byteLength(text) > BODY_BYTES_MAX ? undefined : text;
}

/** The level handler for Fetch: `Request` in, `Response` out. */
export function levelFetch(logging: Logging): (request: Request) => Promise<Response> {
  return async (request) => {
    if (!isLevelPath(new URL(request.url).pathname)) return respond(notFound());
    const body = request.method === "PUT" ? await bounded(request) : "";
    return respond(answer(logging.levels, request.method, body));
  };
}

async function bounded(request: Request): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const reader = request.body?.getReader();
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    bytes += part.value.length;
    if (bytes > BODY_BYTES_MAX) {
      await reader?.cancel();
      return undefined;
    }
    parts.push(part.value);
  }
  return Buffer.concat(parts).toString("utf8");
}

const respond = ({ status, headers, body }: Answer) => new Response(body, { status, headers });

type Logged = { log?: Logger };

/** For Express and Connect: what is logged while a request is served has its tenant, user, request and trace; `request.log` too. */
export function requestContext(logging: Logging): (request: IncomingMessage & Logged, response: unknown, next: Next) => void {
  return (request, _response, next) => {
    const fields = requestFields(request as unknown as HeadersLike);
    request.log = logging.first.child(fields);
    withContext(fields, () => next());
  };
}

/** As much of Fastify as is used. */
export interface FastifyLike {
  addHook(name: "onRequest", hook: (request: never, reply: never, done: () => void) => void): unknown;
  route(route: object): unknown;
}

/** A Fastify plugin: every request's context; with `{ levels: true }` the level handler as well. */
export function fastifyPlugin(logging: Logging) {
  const plugin = (fastify: FastifyLike, options: { levels?: boolean }, done: () => void): void => {
    fastify.addHook("onRequest", (request: { headers: HeadersLike }, _reply: never, next: () => void) => {
      withContext(requestFields(request.headers), next);
    });
    if (options.levels === true) fastify.route({ method: ["GET", "PUT"], url: LEVEL_PATH, bodyLimit: BODY_BYTES_MAX, handler: handle });
    done();
  };
  const handle = (request: { method: string; body?: unknown }, reply: FastifyReply) => {
    const { status, headers, body } = answer(logging.levels, request.method, request.body === undefined ? "" : textOf(request.body));
    for (const [name, value] of Object.entries(headers)) reply.header(name, value);
    return reply.code(status).serializer(String).send(body);
  };
  // Fastify's own sign for a plugin whose hooks are for the whole application.
  return Object.assign(plugin, { [Symbol.for("skip-override")]: true });
}

interface FastifyReply {
  code(status: number): FastifyReply;
  header(name: string, value: string): FastifyReply;
  serializer(how: (body: string) => string): FastifyReply;
  send(body: string): FastifyReply;
}
