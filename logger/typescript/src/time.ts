// The time of a record: RFC 3339, UTC, milliseconds. Most calls fall into the second of the call before, whose text is kept.

let second = -1;
let text = "";
let last = -1;
let lastText = "";

/** `2026-01-02T03:04:05.678Z` of milliseconds since 1970. */
export function timestamp(ms: number): string {
  if (ms === last) return lastText;
  const whole = Math.floor(ms / 1000);
  if (whole !== second) {
    second = whole;
    text = new Date(whole * 1000).toISOString().slice(0, 20);
  }
  const rest = ms - whole * 1000;
  last = ms;
  lastText = text + (rest > 99 ? rest : rest > 9 ? "0" + rest : "00" + rest) + "Z";
  return lastText;
}
