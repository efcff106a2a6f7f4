// A logger: a name, a service, bound fields. `log.info({ orderId }, "paid")`, as with pino; also `log.info("paid", { orderId })` and `log.error(error)`.

import { format } from "node:util";
import { caller } from "./caller";
import { context } from "./context";
import { isError } from "./errors";
import { beside, head, joined, NONE, over, type Fields, type Head, type Made } from "./fields";
import { requestFields, type HeadersLike } from "./headers";
import { quoted, thrown } from "./json";
import { AUDIT, DEBUG, ERROR, INFO, levelName, levelNumber, LevelError, TRACE, WARN, type Level } from "./levels";
import type { Logging } from "./logging";
import { timestamp } from "./time";

export interface LoggerOptions {
  /** Its name; of itself the service's. Levels are set by it. */
  name?: string;
  /** A level of its own, until one is set while the program runs. */
  level?: string;
  /** `file`, `line` and `function` of the caller. A stack costs some microseconds a record. */
  caller?: boolean;
  /** Fields that every record has. */
  fields?: Fields;
}

interface Parts {
  service: string;
  name: string;
  made: Made;
  caller: boolean;
  level: number | undefined;
}

const BEFORE = new Map([TRACE, DEBUG, INFO, WARN, ERROR].map((level) => [level, `","level":"${levelName(level)}","message":`]));
const NO_FIELDS: Fields = {};

export class Logger {
  readonly #logging: Logging;
  readonly #parts: Parts;
  #own: { level: number; since: number } | undefined;
  #threshold = 0;
  #revision = 0;
  #head: Head;
  #contextHead: Head;
  #context: Made | undefined;

  /** @internal Loggers are made by `createLogger`, `child` and the like. */
  constructor(logging: Logging, parts: Parts) {
    this.#logging = logging;
    this.#parts = parts;
    if (parts.level !== undefined) this.#own = { level: parts.level, since: logging.levels.revision };
    this.#head = this.#contextHead = this.#headWith(NONE);
  }

  #headWith(around: Made): Head {
    return head(joined(joined(this.#logging.made, around), this.#parts.made));
  }

  get name(): string {
    return this.#parts.name;
  }

  get service(): string {
    return this.#parts.service;
  }

  #allows(level: number): boolean {
    const levels = this.#logging.levels;
    if (this.#revision !== levels.revision) {
      this.#revision = levels.revision;
      const own = this.#own !== undefined && !levels.isPassing && this.#own.since >= levels.changed ? this.#own.level : undefined;
      this.#threshold = own ?? levels.of(this.#parts.name, this.#parts.service);
    }
    return level >= this.#threshold;
  }

  /** The level in force for it. */
  get level(): Level {
    this.#allows(INFO);
    return levelName(this.#threshold);
  }

  /** A level of its own, until one is set while the program runs. */
  set level(word: string) {
    this.#own = { level: known(word), since: this.#logging.levels.revision };
    this.#revision = 0;
  }

  isLevelEnabled(word: string): boolean {
    return this.#allows(known(word));
  }

  trace(fields: object, message?: string, ...values: unknown[]): void;
  trace(message: string, ...values: unknown[]): void;
  trace(first: unknown, second?: unknown, ...more: unknown[]): void {
    if (this.#allows(TRACE)) this.#log(TRACE, first, second, more);
  }
  debug(fields: object, message?: string, ...values: unknown[]): void;
  debug(message: string, ...values: unknown[]): void;
  debug(first: unknown, second?: unknown, ...more: unknown[]): void {
    if (this.#allows(DEBUG)) this.#log(DEBUG, first, second, more);
  }
  info(fields: object, message?: string, ...values: unknown[]): void;
  info(message: string, ...values: unknown[]): void;
  info(first: unknown, second?: unknown, ...more: unknown[]): void {
    if (this.#allows(INFO)) this.#log(INFO, first, second, more);
  }
  warn(fields: object, message?: string, ...values: unknown[]): void;
  warn(message: string, ...values: unknown[]): void;
  warn(first: unknown, second?: unknown, ...more: unknown[]): void {
    if (this.#allows(WARN)) this.#log(WARN, first, second, more);
  }
  error(fields: object, message?: string, ...values: unknown[]): void;
  error(message: string, ...values: unknown[]): void;
  error(first: unknown, second?: unknown, ...more: unknown[]): void {
    if (this.#allows(ERROR)) this.#log(ERROR, first, second, more);
  }
  /** As `error`: there is no level above it. */
  fatal(fields: object, message?: string, ...values: unknown[]): void;
  fatal(message: string, ...values: unknown[]): void;
  fatal(first: unknown, second?: unknown, ...more: unknown[]): void {
    if (this.#allows(ERROR)) this.#log(ERROR, first, second, more);
  }
  /** Nothing, as with pino. */
  silent(): void {}

  #log(level: number, first: unknown, second: unknown, more: unknown[]): void {
    try {
      this.#said(level, first, second, more);
    } catch (error) {
      // An application's own object threw while it was looked at.
      this.write(level, typeof second === "string" ? second : thrown(error), { fields: thrown(error) });
    }
  }

  #said(level: number, first: unknown, second: unknown, more: unknown[]): void {
    if (typeof first === "string") {
      if (second === undefined) return this.write(level, first, NO_FIELDS);
      if (more.length === 0 && typeof second === "object" && second !== null && !first.includes("%")) {
        return this.write(level, first, isError(second) ? { error: second } : (second as Fields));
      }
      return this.write(level, format(first, second, ...more), NO_FIELDS);
    }
    if (typeof first !== "object" || first === null) return this.write(level, format(first, second ?? "", ...more).trimEnd(), NO_FIELDS);
    const message = typeof second === "string" ? (more.length === 0 ? second : format(second, ...more)) : undefined;
    if (isError(first)) return this.write(level, message ?? text(() => first.message), { error: first });
    const fields = first as { msg?: unknown; message?: unknown; err?: unknown; error?: unknown };
    if (message !== undefined) return this.write(level, message, first as Fields);
    // Without a message it is that of the error, or what pino calls `msg`.
    const error = fields.err ?? fields.error;
    const said = typeof fields.msg === "string" ? fields.msg : isError(error) ? text(() => error.message) : "";
    this.write(level, said, first as Fields);
  }

  /** One record whatever the level is. @internal */
  write(level: number, message: string, fields: Fields, audit = ""): void {
    const around = context();
    let known = this.#head;
    if (around !== undefined) {
      if (around !== this.#context) {
        this.#context = around;
        this.#contextHead = this.#headWith(around);
      }
      known = this.#contextHead;
    }
    if (this.#parts.caller) known = head(joined(known.made, over(NONE, { ...caller() })));
    const members = fields === NO_FIELDS ? known.text : beside(known, fields);
    const line = '{"timestamp":"' + timestamp(Date.now()) + BEFORE.get(level) + quoted(message) + audit + members + "}\n";
    this.#logging.take(audit === "" ? level : AUDIT, line);
  }

  #with(change: Partial<Parts>, fields: Fields): Logger {
    const made = over(this.#parts.made, fields);
    return new Logger(this.#logging, { ...this.#parts, level: this.#own?.level, made, ...change });
  }

  /** A logger with these fields too. */
  child(fields: Fields, options: Omit<LoggerOptions, "fields"> = {}): Logger {
    const change: Partial<Parts> = {};
    if (options.caller !== undefined) change.caller = options.caller;
    if (options.level !== undefined) change.level = known(options.level);
    if (options.name !== undefined) change.name = options.name;
    return this.#with(change, options.name === undefined ? fields : { ...fields, logger: options.name });
  }

  /** The same under another name: `db.pool`. */
  named(name: string): Logger {
    return this.#with({ name }, { logger: name });
  }

  withSource(source: string): Logger {
    return this.child({ source });
  }

  /** A logger of this request: tenant, user, session, request, trace from its headers. */
  forRequest(from: HeadersLike): Logger {
    return this.child(requestFields(from));
  }

  /** An audit event: written whatever the level is. */
  audit(message: string, event: { action: string; metadata?: object }, fields: Fields = NO_FIELDS): void {
    let said: Fields;
    try {
      said = { ...fields, action: event.action, metadata: event.metadata };
    } catch (error) {
      // An audit event is written whatever was handed over.
      said = { fields: thrown(error) };
    }
    this.write(INFO, message, said, ',"is_audit":true');
  }

  /**
   * Runs `work`. While the switch of scopes is on, and at DEBUG: `[name][Entry]`, `[name][Coherence:OK]` or `[name][Coherence:Failed]`,
   * `[name][Exit]`. What `work` returns or throws is its caller's; a promise's scope ends when it does.
   */
  scope<T>(name: string, work: () => T): T {
    if (!this.#tells()) return work();
    const tell = (what: string) => {
      if (this.#tells()) this.write(DEBUG, `[${name}][${what}`, { scope: name });
    };
    const ends = (error?: { thrown: unknown }) => {
      tell(error === undefined ? "Coherence:OK]" : `Coherence:Failed] ${text(() => (error.thrown as Error)?.message ?? error.thrown)}`);
      tell("Exit]");
    };
    tell("Entry]");
    let result: T;
    try {
      result = work();
    } catch (thrown) {
      ends({ thrown });
      throw thrown;
    }
    if (typeof (result as PromiseLike<unknown> | undefined)?.then !== "function") {
      ends();
      return result;
    }
    const pending = result as PromiseLike<unknown>;
    return pending.then(
      (value) => {
        ends();
        return value;
      },
      (thrown: unknown) => {
        ends({ thrown });
        throw thrown;
      },
    ) as T;
  }

  #tells(): boolean {
    return this.#logging.levels.scopes && this.#allows(DEBUG);
  }

  /** Writes what waits. */
  flush(done?: () => void): void {
    this.#logging.flush();
    done?.();
  }
}

function known(word: string): number {
  const level = levelNumber(word);
  if (level === undefined) throw new LevelError(`unknown level '${word}': there are trace, debug, info, warn, error, off`);
  return level;
}

function text(read: () => unknown): string {
  try {
    return String(read());
  } catch {
    return "[unprintable]";
  }
}
