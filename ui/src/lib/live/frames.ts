// The frames of `cordwood.v1` (docs/api.md), and what a closed stream means: pure.
import type { LogRecord } from "../api/client";

export interface GapFrame {
  type: "gap";
  from?: string;
  to: string;
  count: number | null;
  reason: "slow" | "feed" | "restart";
  cursor: string;
}

export type Frame =
  | { type: "hello"; feed: string }
  | { type: "records"; items: LogRecord[]; late?: boolean; cursor: string }
  | { type: "caughtUp"; cursor: string }
  | GapFrame
  | { type: "error"; at?: string; position?: number; message: string }
  | { type: "bye"; code: number };

const KINDS = new Set(["hello", "records", "caughtUp", "gap", "error", "bye"]);

/** `null` for what a newer gateway may say and this page does not know. */
export function frameOf(text: string): Frame | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  return KINDS.has(String(value.type)) ? (value as Frame) : null;
}

export type After =
  /** Come back with the last cursor, after a moment. */
  | { then: "again"; why: string }
  /** Come back at once: what may be seen has changed. */
  | { then: "at-once"; why: string }
  /** Who asks must say so again. */
  | { then: "login"; why: string };

export function afterClose(code: number): After {
  switch (code) {
    case 4401:
      return { then: "login", why: "Your session is over." };
    case 4403:
      return { then: "at-once", why: "What you may see has changed." };
    case 4429:
      return { then: "again", why: "There are as many live streams as the gateway takes." };
    case 1012:
      return { then: "again", why: "The gateway restarts." };
    case 1011:
      return { then: "again", why: "The database refused." };
    default:
      return { then: "again", why: "The connection was lost." };
  }
}

/** Doubling from half a second to 15 s; `luck` (0 to 1) keeps many pages from coming back together. */
export function delayMs(attempt: number, luck: number): number {
  return Math.min(15_000, 500 * 2 ** Math.min(attempt, 8)) * (0.5 + luck / 2);
}
