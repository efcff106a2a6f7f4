// The lines of a task, and what of them is shown: pure.
import type { Schemas } from "$lib/api/client";

export type TaskLine = Schemas["TaskItem"];
export type TaskLevel = Schemas["TaskLevel"];

export const TASK_LEVELS: readonly TaskLevel[] = ["DEBUG", "INFO", "WARNING", "ERROR"];
/** INFO and above, as the API says it of itself. */
export const USUAL: readonly TaskLevel[] = ["INFO", "WARNING", "ERROR"];

export interface TaskFilter {
  levels: readonly TaskLevel[];
  /** None: all. */
  sources: readonly string[];
  text: string;
  /** `key=value`; a key may be a path, `a.b`. */
  metadata: readonly string[];
}

export function levelsOf(names: readonly string[]): TaskLevel[] {
  const chosen = TASK_LEVELS.filter((level) => names.includes(level));
  return chosen.length > 0 ? chosen : [...USUAL];
}

/** With or without one; none at all would show nothing, so that it is the usual ones. */
export function toggled<T extends string>(list: readonly T[], one: T): T[] {
  return list.includes(one) ? list.filter((other) => other !== one) : [...list, one];
}

export function pair(text: string): [key: string, value: string] | null {
  const at = text.indexOf("=");
  const key = text.slice(0, at).trim();
  return at > 0 && key !== "" ? [key, text.slice(at + 1).trim()] : null;
}

/** Whether a line is shown: made once for a filter, asked for tens of thousands of lines. */
export function matcher(filter: TaskFilter): (line: TaskLine) => boolean {
  const levels = new Set(filter.levels);
  const sources = filter.sources.length > 0 ? new Set(filter.sources) : null;
  const text = filter.text.toLowerCase();
  const pairs = filter.metadata.flatMap((one) => {
    const known = pair(one);
    return known ? [known] : [];
  });
  return (line) =>
    levels.has(line.level) &&
    (sources === null || sources.has(line.source)) &&
    (text === "" || line.message.toLowerCase().includes(text)) &&
    pairs.every(([key, value]) => said(line.metadata, key) === value);
}

function said(metadata: unknown, key: string): string | undefined {
  if (typeof metadata !== "object" || metadata === null) return undefined;
  const holder = metadata as Record<string, unknown>;
  const dot = key.indexOf(".");
  const value = Object.hasOwn(holder, key) ? holder[key] : undefined;
  if (value === undefined && dot > 0) return said(holder[key.slice(0, dot)], key.slice(dot + 1));
  return value === undefined ? undefined : typeof value === "string" ? value : JSON.stringify(value);
}

/** What the API is asked, as its query writes it. */
export function asked(filter: TaskFilter, namespace: string): URLSearchParams {
  const query = new URLSearchParams();
  for (const level of filter.levels) query.append("level", level);
  for (const source of filter.sources) query.append("source", source);
  if (filter.text) query.set("search", filter.text);
  for (const one of filter.metadata) {
    const known = pair(one);
    if (known) query.append(`metadata.${known[0]}`, known[1]);
  }
  if (namespace) query.set("namespace", namespace);
  return query;
}

/** 0 to 100, where the line says how far the task is. */
export function progressOf(line: TaskLine): number | null {
  const value = line.metadata?.progress;
  const number = typeof value === "number" ? value : Number.NaN;
  return Number.isFinite(number) ? Math.max(0, Math.min(100, number)) : null;
}

/** The metadata beside the progress, in one line. */
export function detailOf(line: TaskLine): string {
  return Object.entries(line.metadata ?? {})
    .filter(([key]) => !(key === "progress" && progressOf(line) !== null))
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

/** Each line once, the oldest first. */
export function joined(lines: readonly TaskLine[], more: readonly TaskLine[]): TaskLine[] {
  // As mostly: what comes is in order, and later than all that is there.
  if (more.every((line, n) => isBefore(n === 0 ? lines[lines.length - 1] : more[n - 1], line))) return more.length === 0 ? (lines as TaskLine[]) : [...lines, ...more];
  const known = new Set(lines.map(({ id }) => id));
  const fresh = more.filter(({ id }) => !known.has(id) && known.add(id));
  if (fresh.length === 0) return lines as TaskLine[];
  const all = [...lines, ...fresh];
  for (let n = Math.max(1, lines.length); n < all.length; n++) {
    if (before(all[n]!, all[n - 1]!)) return all.sort((a, b) => (before(a, b) ? -1 : 1));
  }
  return fresh.length > 1 ? all.sort((a, b) => (before(a, b) ? -1 : 1)) : all;
}

function isBefore(earlier: TaskLine | undefined, later: TaskLine): boolean {
  return earlier === undefined || before(earlier, later);
}

function before(a: TaskLine, b: TaskLine): boolean {
  return a.timestamp === b.timestamp ? a.id < b.id : a.timestamp < b.timestamp;
}

/** The namespaces that have a task of this id, as the refusal names them that asks for one. */
export function namespacesOf(detail: string): string[] {
  const named = /namespace=, of (.+)$/.exec(detail)?.[1];
  return named ? named.split(", ") : [];
}
