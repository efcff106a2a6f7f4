// Columns of the list beside time, level and message: which fields, how wide. In the address as `cols=service:132,data.orderId:90`. Pure.
import type { LogRecord } from "$lib/api/client";

export interface Column {
  field: string;
  width: number;
}

export const DEFAULT: readonly Column[] = [{ field: "service", width: 124 }];
const WIDTH = { least: 48, most: 600, usual: 140 };

export function columnsOf(text: string): Column[] {
  if (text === "") return [...DEFAULT];
  if (text === "none") return [];
  const seen = new Set<string>();
  return text.split(",").flatMap((part) => {
    const [, field, width] = /^(.+?)(?::(\d+))?$/.exec(part) ?? [];
    if (!field || seen.has(field)) return [];
    seen.add(field);
    return [{ field, width: clamp(width ? Number(width) : WIDTH.usual) }];
  });
}

export function clamp(width: number): number {
  return Math.round(Math.max(WIDTH.least, Math.min(WIDTH.most, width)));
}

export function columnsText(columns: readonly Column[]): string {
  if (columns.length === 0) return "none";
  return joined(columns) === joined(DEFAULT) ? "" : joined(columns);
}

/** The tracks of the list's grid: time (with its day or without), level, the columns, the message. */
export function tracks(columns: readonly Column[], isDated: boolean): string {
  return `${isDated ? 134 : 92}px 60px ${columns.map(({ width }) => `${width}px`).join(" ")} minmax(0, 1fr)`;
}

function joined(columns: readonly Column[]): string {
  return columns.map(({ field, width }) => `${field}:${width}`).join(",");
}

export function added(columns: readonly Column[], field: string): Column[] {
  return columns.some((one) => one.field === field) ? [...columns] : [...columns, { field, width: WIDTH.usual }];
}

export function moved(columns: readonly Column[], field: string, by: number): Column[] {
  const at = columns.findIndex((one) => one.field === field);
  const to = at + by;
  if (at < 0 || to < 0 || to >= columns.length) return [...columns];
  const next = [...columns];
  next.splice(to, 0, ...next.splice(at, 1));
  return next;
}

/** What a record says in a field: `data.user.id` is `id` in `user`, or the key `user.id`. */
export function valueOf(record: LogRecord, field: string): string {
  if (field === "service") return record.service ?? record.plugin ?? record.container ?? record.pod ?? "";
  // The filter and the values beside the list know it by this name.
  if (field === "tenant") return record.tenantSlug ?? record.tenantId ?? "";
  const value = found(record, field.split("."));
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value).slice(0, 512) : String(value);
}

function found(value: unknown, path: string[]): unknown {
  if (path.length === 0) return value;
  if (typeof value !== "object" || value === null) return undefined;
  for (let n = path.length; n > 0; n--) {
    const key = path.slice(0, n).join(".");
    if (Object.hasOwn(value, key)) {
      const inner = found((value as Record<string, unknown>)[key], path.slice(n));
      if (inner !== undefined) return inner;
    }
  }
  return undefined;
}
