// Levels as they are shown: their order, and the names that the API uses for them.

export const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"] as const;
export type Level = (typeof LEVELS)[number] | "UNKNOWN";
/** From the bottom of a stack upwards. */
export const STACKED: readonly Level[] = ["UNKNOWN", ...LEVELS];

/** Task routes write WARNING; a record without a level is UNKNOWN. */
export function levelOf(text: string | null | undefined): Level {
  const upper = (text ?? "").toUpperCase();
  if (upper === "WARNING") return "WARN";
  if (upper === "FATAL" || upper === "CRITICAL") return "ERROR";
  return (LEVELS as readonly string[]).includes(upper) ? (upper as Level) : "UNKNOWN";
}

/** The CSS custom property that holds its colour is `--` and this. */
export function levelToken(level: Level): string {
  return level.toLowerCase();
}
