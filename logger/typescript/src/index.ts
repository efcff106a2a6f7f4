// What an application uses. There is one `Logging` for the process, made when the first logger is; `new Logging({...})` makes another.

import type { IncomingMessage, ServerResponse } from "node:http";
import { watch } from "./ending";
import type { HeadersLike } from "./headers";
import * as http from "./http";
import type { LevelChange, LevelState } from "./levels";
import type { Logger, LoggerOptions } from "./logger";
import { Logging } from "./logging";

let made: Logging | undefined;

function process_(): Logging {
  if (made === undefined) {
    made = new Logging();
    watch(made);
  }
  return made;
}

/** The logger of a service; of CORDWOOD_SERVICE when it names none. */
export function createLogger(service?: string, options?: LoggerOptions): Logger {
  return process_().createLogger(service, options);
}

/** A logger of one request: Fetch's `Headers` or `Request`, a request of Node, Express or Fastify, or an object of headers. */
export function createRequestLogger(from: HeadersLike, logger?: Logger): Logger {
  return process_().createRequestLogger(from, logger);
}

/** An audit event of a logger: written whatever the level is. */
export function auditLog(logger: Logger, message: string, event: { action: string; metadata?: object }): void {
  logger.audit(message, event);
}

/** Runs `work` in a scope of the process's first logger. */
export function scope<T>(name: string, work: () => T): T {
  return process_().first.scope(name, work);
}

/** `GET/PUT /cordwood/level` for Node's `http`, Connect, Express. Mount it where only those come who may change levels. */
export function levelHandler(): (request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void) => void {
  return http.levelHandler(process_());
}

/** The same for Fetch. */
export function levelFetch(): (request: Request) => Promise<Response> {
  return http.levelFetch(process_());
}

/** Express and Connect: `app.use(requestContext())`. */
export function requestContext(): ReturnType<typeof http.requestContext> {
  return http.requestContext(process_());
}

/** Fastify: `app.register(fastifyPlugin(), { levels: true })`. */
export function fastifyPlugin(): ReturnType<typeof http.fastifyPlugin> {
  return http.fastifyPlugin(process_());
}

/** The levels in force. */
export function levels(): LevelState {
  return process_().levels.state();
}

/** Changes levels as `PUT /cordwood/level` does. */
export function setLevels(change: LevelChange): LevelState {
  return process_().levels.change(change);
}

/** Writes what waits; true when nothing waits any more. */
export function flush(): boolean {
  return process_().flush();
}

/** How many records were written, wait, and were dropped. */
export function stats(): { written: number; waiting: number; dropped: number } {
  const { written, waiting, lost } = process_().delivery;
  return { written, waiting, dropped: lost };
}

export { enterContext, withContext } from "./context";
export type { Limits } from "./delivery";
export type { Fields } from "./fields";
export type { HeadersLike } from "./headers";
export { LevelError, type Level, type LevelChange, type LevelState } from "./levels";
export { Logger, type LoggerOptions } from "./logger";
export { Logging, type LoggingOptions } from "./logging";
export { MemoryOutput, type Output } from "./output";
export { runTask, TaskContext, type Execute } from "./task";
