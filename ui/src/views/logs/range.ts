// Which stretch of time is looked at, and which one the counts above the list are of. Pure.
import { instant, moment, rfc3339, type Zone } from "$lib/time";

export const PRESETS: readonly [from: string, label: string][] = [
  ["", "Latest"],
  ["-5m", "Last 5 minutes"],
  ["-15m", "Last 15 minutes"],
  ["-1h", "Last hour"],
  ["-6h", "Last 6 hours"],
  ["-24h", "Last 24 hours"],
  ["-7d", "Last 7 days"],
  ["-30d", "Last 30 days"],
];

export function rangeLabel(from: string, to: string, zone: Zone, nowUs: number): string {
  if (to === "" || to === "now") {
    const preset = PRESETS.find(([value]) => value === from);
    if (preset) return preset[1];
  }
  const [begin, end] = [instant(from, nowUs), to ? instant(to, nowUs) : Number.NaN];
  const left = Number.isNaN(begin) ? "…" : moment(begin, zone);
  const right = Number.isNaN(end) ? "now" : moment(end, zone);
  return `${left} – ${right.slice(0, 10) === left.slice(0, 10) ? right.slice(11) : right}`;
}

const STEPS_US = [15, 60, 360, 1440, 10080, 43200].map((minutes) => minutes * 60e6);

/** Without a begin of its own, the counts reach as far back as the oldest record of the first page, at least an hour. */
export function countedFrom(from: string, oldestUs: number | null, nowUs: number): number {
  const told = instant(from, nowUs);
  if (!Number.isNaN(told)) return told;
  const wanted = oldestUs === null ? 60 * 60e6 : nowUs - oldestUs;
  return nowUs - (STEPS_US.find((step) => step >= Math.max(wanted, 60 * 60e6)) ?? wanted * 1.05);
}

/** What somebody wrote into an address may be no time. */
export function isRange(from: string, to: string): boolean {
  return [from, to].every((end) => end === "" || !Number.isNaN(instant(end, 0)));
}

/** The same stretch of time for a reader who opens a link later: without a begin of its own, from the oldest record that is shown. */
export function fixedRange(from: string, to: string, oldestUs: number | null, nowUs: number): { from: string; to: string } {
  const end = to ? instant(to, nowUs) : nowUs;
  const begin = from ? instant(from, nowUs) : (oldestUs ?? end - 60 * 60e6);
  return { from: rfc3339(Math.floor(begin)), to: rfc3339(Math.ceil(end)) };
}
