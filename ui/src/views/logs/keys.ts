// Which key does what in the log view. Pure: what a key press means, given the one before.

export type Command =
  | "filter"
  | "toggle"
  | "next"
  | "previous"
  | "open"
  | "context"
  | "without"
  | "find"
  | "found-next"
  | "found-previous"
  | "time"
  | "newest"
  | "wrap"
  | "close"
  | "sheet";

const SINGLE: Record<string, Command> = {
  "/": "filter",
  " ": "toggle",
  j: "next",
  k: "previous",
  Enter: "open",
  c: "context",
  x: "without",
  f: "find",
  n: "found-next",
  N: "found-previous",
  G: "newest",
  w: "wrap",
  Escape: "close",
  "?": "sheet",
};

export interface Press {
  key: string;
  /** With Ctrl, Alt or Meta it is the browser's. */
  modified: boolean;
  /** In a field, on a button: there keys mean what they always mean. */
  inField: boolean;
}

export function commandOf({ key, modified, inField }: Press, before: string): Command | null {
  if (modified) return null;
  if (inField) return null;
  if (before === "g" && key === "t") return "time";
  return SINGLE[key] ?? null;
}

/** Words of a message before the first that holds a digit: what records like it begin with. */
export function beginning(message: string): string {
  const words = message.trim().split(/\s+/);
  const at = words.findIndex((word) => /\d/.test(word));
  return (at <= 0 ? words.slice(0, 6) : words.slice(0, Math.min(at, 6))).join(" ").slice(0, 120);
}
