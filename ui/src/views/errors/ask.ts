// What the errors view asks for of itself, and what people choose among.

/** As of the gateway itself: a day. */
export const RANGE = "-24h";
export const RANGES: readonly [from: string, label: string][] = [
  ["-1h", "1 hour"],
  ["-6h", "6 hours"],
  ["-24h", "24 hours"],
  ["-7d", "7 days"],
  ["-30d", "30 days"],
];
export const NEWS: readonly [since: string, label: string][] = [
  ["", "old and new"],
  ["-15m", "new in 15 min"],
  ["-1h", "new in 1 hour"],
  ["-24h", "new in 24 hours"],
  ["-7d", "new in 7 days"],
];
/** What is shown keeps its place, with what is said of it now; what is new stands behind it. */
export function inPlace<T extends { signature: string }>(shown: readonly T[], now: readonly T[]): T[] {
  const left = new Map(now.map((one) => [one.signature, one]));
  const kept = shown.flatMap(({ signature }) => {
    const one = left.get(signature);
    left.delete(signature);
    return one ? [one] : [];
  });
  return [...kept, ...left.values()];
}
/** What is counted without a group of its own: no record says that it is of it. */
export const isOther = (signature: string): boolean => /^v\d+:other$/.test(signature);
