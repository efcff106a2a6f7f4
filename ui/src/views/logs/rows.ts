// The rows of the log view and their order: by time, and where times are equal by id, as the API orders them. Pure.
import type { LogRecord } from "$lib/api/client";
import type { GapFrame } from "$lib/live/frames";
import { levelOf, type Level } from "$lib/level";
import { parseUs } from "$lib/time";

export interface RecordRow {
  kind: "record";
  key: string;
  us: number;
  level: Level;
  record: LogRecord;
}

export interface GapRow {
  kind: "gap";
  key: string;
  us: number;
  /** Absent: from the oldest on. */
  fromUs: number | null;
  count: number | null;
  /** Where the search for what is missing goes on, once a part of it is shown. */
  next?: string;
  reason: GapFrame["reason"];
}

export type Row = RecordRow | GapRow;

export function recordRow(record: LogRecord): RecordRow {
  return {
    kind: "record",
    key: record.id ?? "",
    us: parseUs(record.timestamp ?? ""),
    level: levelOf(record.level),
    record,
  };
}

export function gapRow(gap: GapFrame): GapRow {
  return {
    kind: "gap",
    key: `gap ${gap.cursor}`,
    us: parseUs(gap.to),
    fromUs: gap.from ? parseUs(gap.from) : null,
    count: gap.count,
    reason: gap.reason,
  };
}

/** An id is hexadecimal numbers with signs between them: of what came at the same microsecond, the lower goes first. */
export function compareIds(a: string, b: string): number {
  if (a === b) return 0;
  const [left, right] = [a.split(/[^0-9a-f]+/), b.split(/[^0-9a-f]+/)];
  for (let n = 0; n < Math.max(left.length, right.length); n++) {
    const [x, y] = [left[n] ?? "", right[n] ?? ""];
    if (x.length !== y.length) return x.length - y.length;
    if (x !== y) return x < y ? -1 : 1;
  }
  return a < b ? -1 : 1;
}

export function compareRows(a: Row, b: Row): number {
  if (a.us !== b.us) return a.us - b.us;
  if (a.kind !== b.kind) return a.kind === "gap" ? 1 : -1;
  return a.kind === "gap" ? (a.key < b.key ? -1 : 1) : compareIds(a.key, b.key);
}

/** Both in order, each row once. Where one begins behind the other's end, as mostly, nothing is compared but the ends. */
export function merged(rows: readonly Row[], more: readonly Row[]): Row[] {
  if (more.length === 0) return rows as Row[];
  const sorted = isSorted(more) ? more : [...more].sort(compareRows);
  if (rows.length === 0) return unique(sorted);
  const [first, last] = [rows[0]!, rows[rows.length - 1]!];
  if (compareRows(last, sorted[0]!) < 0) return [...rows, ...unique(sorted)];
  if (compareRows(sorted[sorted.length - 1]!, first) < 0) return [...unique(sorted), ...rows];
  const out: Row[] = [];
  let [i, j] = [0, 0];
  while (i < rows.length || j < sorted.length) {
    const [a, b] = [rows[i], sorted[j]];
    if (b === undefined || (a !== undefined && compareRows(a, b) <= 0)) {
      if (b !== undefined && a!.key === b.key) j++;
      out.push(a!);
      i++;
    } else {
      if (out[out.length - 1]?.key !== b.key) out.push(b);
      j++;
    }
  }
  return out;
}

function isSorted(rows: readonly Row[]): boolean {
  for (let n = 1; n < rows.length; n++) if (compareRows(rows[n - 1]!, rows[n]!) > 0) return false;
  return true;
}

function unique(rows: readonly Row[]): Row[] {
  return rows.filter((row, n) => n === 0 || row.key !== rows[n - 1]!.key);
}
