// What /ws/monitor says, as rows: pure.
import { levelOf, type Level } from "$lib/level";
import { parseUs } from "$lib/time";

export type Kind = "system" | "audit";

interface Data {
  timestamp: string;
  level?: string;
  logger?: string;
  message?: string;
  module?: string;
  function?: string;
  line?: number;
  action?: string;
  metadata?: unknown;
}
export interface MonitorFrame {
  type: string;
  data: Data;
}

export interface MonitorRow {
  key: string;
  us: number;
  level: Level;
  logger: string;
  message: string;
  module: string;
  function: string;
  line: string;
  action: string;
  metadata: string;
}

/** `null` for what is of the other panel, or of a newer gateway. */
export function frameOf(frame: MonitorFrame, kind: Kind, number: () => number): MonitorRow | null {
  if (frame?.type !== `${kind}_log` || typeof frame.data !== "object" || frame.data === null) return null;
  const { timestamp, level, logger, message, module, function: of, line, action, metadata } = frame.data;
  return {
    key: String(number()),
    us: parseUs(timestamp),
    level: levelOf(level),
    logger: logger ?? "",
    message: message ?? "",
    module: module ?? "",
    function: of ?? "",
    line: line === undefined ? "" : String(line),
    action: action ?? "",
    metadata: metadata === undefined ? "" : flat(metadata),
  };
}

/** An object's own pairs in one line; everything else as JSON. */
function flat(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return JSON.stringify(value);
  return Object.entries(value)
    .map(([key, one]) => `${key}=${typeof one === "string" ? one : JSON.stringify(one)}`)
    .join(" ");
}

/** The last `max` of both, and how many were dropped. */
export function kept<T>(rows: readonly T[], more: readonly T[], max: number): { rows: T[]; gone: number } {
  if (more.length === 0) return { rows: rows as T[], gone: 0 };
  const all = [...rows, ...more];
  const gone = Math.max(0, all.length - max);
  return { rows: gone > 0 ? all.slice(gone) : all, gone };
}
