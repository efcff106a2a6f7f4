// Levels: words, and which level is in force for whom. One table for the process: a default, levels of targets and service types, the switch
// of scopes. What is set for a while goes back by itself; `revision` changes whenever an answer may have changed.

export type Level = "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "OFF";

export const TRACE = 10;
export const DEBUG = 20;
export const INFO = 30;
export const WARN = 40;
export const ERROR = 50;
export const OFF = 100;
/** Audit events are never filtered, and dropped last. */
export const AUDIT = 60;

/** At most seven days, as for every level that Cordwood sets for a while. */
export const TTL_SECONDS_MAX = 604_800;
const TARGETS_MAX = 1000;

const WORDS: Record<string, number> = {
  trace: TRACE,
  debug: DEBUG,
  info: INFO,
  notice: INFO,
  warn: WARN,
  warning: WARN,
  error: ERROR,
  err: ERROR,
  critical: ERROR,
  fatal: ERROR,
  off: OFF,
  silent: OFF,
};

export function levelNumber(word: string): number | undefined {
  const key = word.trim().toLowerCase();
  return Object.prototype.hasOwnProperty.call(WORDS, key) ? WORDS[key] : undefined;
}

export function levelName(level: number): Level {
  if (level >= OFF) return "OFF";
  if (level >= ERROR) return "ERROR";
  if (level >= WARN) return "WARN";
  if (level >= INFO) return "INFO";
  return level >= DEBUG ? "DEBUG" : "TRACE";
}

export interface LevelState {
  level: Level;
  targets: Record<string, Level>;
  scopes: boolean;
  ttlSeconds?: number;
}

/** What may be asked for; what is absent stays as it is. */
export interface LevelChange {
  level?: string;
  targets?: Record<string, string>;
  scopes?: boolean;
  ttlSeconds?: number;
}

export class LevelError extends Error {
  override name = "LevelError";
}

interface Setting {
  level: number;
  targets: Map<string, number>;
  scopes: boolean;
  /** What the environment says of one service; a change at run time is about all of them. */
  services: Map<string, Pick<Setting, "level" | "targets">>;
}

export class Levels {
  revision = 1;
  /** The service whose level is told as that of the process. */
  service: string | undefined;
  /** The revision of the latest lasting change at run time. */
  changed = 0;
  #lasting: Setting = { level: INFO, targets: new Map(), scopes: false, services: new Map() };
  #passing: Setting | undefined;
  #until = 0;
  #timer: NodeJS.Timeout | undefined;

  get #now(): Setting {
    return this.#passing ?? this.#lasting;
  }

  get scopes(): boolean {
    return this.#now.scopes;
  }

  get isPassing(): boolean {
    return this.#passing !== undefined;
  }

  #of(service: string | undefined): Pick<Setting, "level" | "targets"> {
    return (service === undefined ? undefined : this.#now.services.get(service)) ?? this.#now;
  }

  /** The level of a logger: that of the longest target that its name begins with, else the one of its service, else the default. */
  of(target: string, service: string | undefined): number {
    const { targets, level } = this.#of(service);
    if (targets.size > 0) {
      for (let name = target; name !== ""; name = above(name)) {
        const found = targets.get(name);
        if (found !== undefined) return found;
      }
    }
    return level;
  }

  /** `info,db=debug,storefront=warn`, as CORDWOOD_LEVEL says it. What cannot be read is passed over and returned. */
  configure(text: string, service?: string): string[] {
    const wrong: string[] = [];
    const into = service === undefined ? this.#lasting : { level: this.#lasting.level, targets: new Map(this.#lasting.targets) };
    for (const part of text.split(",").map((part) => part.trim()).filter((part) => part !== "")) {
      const at = part.lastIndexOf("=");
      const level = levelNumber(part.slice(at + 1));
      const target = at < 0 ? "" : part.slice(0, at).trim();
      if (level === undefined || (at >= 0 && target === "")) wrong.push(part);
      else if (at < 0) into.level = level;
      else into.targets.set(target, level);
    }
    if (service !== undefined) this.#lasting.services.set(service, into);
    this.revision++;
    return wrong;
  }

  setScopes(on: boolean): void {
    this.#lasting.scopes = on;
    this.revision++;
  }

  state(): LevelState {
    const { level, targets } = this.#of(this.service);
    const names = [...targets].map(([name, one]) => [name, levelName(one)] as const);
    const state: LevelState = { level: levelName(level), targets: Object.fromEntries(names), scopes: this.scopes };
    if (this.#passing) state.ttlSeconds = Math.max(1, Math.ceil((this.#until - Date.now()) / 1000));
    return state;
  }

  /** Puts a change in force: with `ttlSeconds` for that long, else for good. What it does not name is what is permanently set. Nothing changes when any part is wrong. */
  change(change: unknown): LevelState {
    const asked = checked(change);
    const own = this.#lasting.services.get(this.service ?? "") ?? this.#lasting;
    const isAll = asked.level !== undefined || asked.targets !== undefined;
    const next: Setting = {
      level: asked.level ?? own.level,
      targets: asked.targets ?? new Map(own.targets),
      scopes: asked.scopes ?? this.#lasting.scopes,
      services: isAll ? new Map() : this.#lasting.services,
    };
    this.#end();
    if (asked.ttlSeconds === undefined) {
      this.#lasting = next;
      if (isAll) this.changed = this.revision + 1;
    } else {
      this.#passing = next;
      this.#until = Date.now() + asked.ttlSeconds * 1000;
      this.#timer = setTimeout(() => this.#end(), asked.ttlSeconds * 1000);
      this.#timer.unref();
    }
    this.revision++;
    return this.state();
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#passing = undefined;
    this.revision++;
  }
}

function above(name: string): string {
  const at = Math.max(name.lastIndexOf("."), name.lastIndexOf(":"), name.lastIndexOf("/"));
  return at <= 0 ? "" : name.slice(0, at).replace(/:$/, "");
}

interface Checked {
  level?: number;
  targets?: Map<string, number>;
  scopes?: boolean;
  ttlSeconds?: number;
}

function checked(change: unknown): Checked {
  if (typeof change !== "object" || change === null || Array.isArray(change)) throw new LevelError("the body must be a JSON object");
  const out: Checked = {};
  for (const [key, value] of Object.entries(change)) {
    if (key === "level") out.level = level("level", value);
    else if (key === "targets") out.targets = targets(value);
    else if (key === "scopes") {
      if (typeof value !== "boolean") throw new LevelError("scopes: must be true or false");
      out.scopes = value;
    } else if (key === "ttlSeconds") {
      if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > TTL_SECONDS_MAX) {
        throw new LevelError(`ttlSeconds: must be a whole number from 1 to ${TTL_SECONDS_MAX}`);
      }
      out.ttlSeconds = value;
    } else throw new LevelError(`${key}: unknown; there are level, targets, scopes, ttlSeconds`);
  }
  return out;
}

function level(key: string, value: unknown): number {
  const found = typeof value === "string" ? levelNumber(value) : undefined;
  if (found === undefined) throw new LevelError(`${key}: must be one of TRACE, DEBUG, INFO, WARN, ERROR, OFF`);
  return found;
}

function targets(value: unknown): Map<string, number> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new LevelError("targets: must be an object of names and levels");
  const entries = Object.entries(value);
  if (entries.length > TARGETS_MAX) throw new LevelError(`targets: at most ${TARGETS_MAX}`);
  return new Map(entries.map(([name, word]) => [name, level(`targets.${name}`, word)]));
}
