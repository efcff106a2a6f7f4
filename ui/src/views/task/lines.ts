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

export function matches(line: TaskLine, filter: TaskFilter): boolean {
  if (!filter.levels.includes(line.level)) return false;
  if (filter.sources.length > 0 && !filter.sources.includes(line.source)) return false;
  if (filter.text && !line.message.toLowerCase().includes(filter.text.toLowerCase())) return false;
  return filter.metadata.every((one) => {
    const known = pair(one);
    return !known || said(line.metadata, known[0]) === known[1];
  });
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
  const known = new Set(lines.map(({ id }) => id));
  const fresh = more.filter(({ id }) => !known.has(id) && known.add(id));
  if (fresh.length === 0) return lines as TaskLine[];
  const all = [...lines, ...fresh];
  for (let n = Math.max(1, lines.length); n < all.length; n++) {
    if (before(all[n]!, all[n - 1]!)) return all.sort((a, b) => (before(a, b) ? -1 : 1));
  }
  return fresh.length > 1 ? all.sort((a, b) => (before(a, b) ? -1 : 1)) : all;
}

function before(a: TaskLine, b: TaskLine): boolean {
  return a.timestamp === b.timestamp ? a.id < b.id : a.timestamp < b.timestamp;
}
