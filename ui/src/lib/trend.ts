// Counts over time as bars of equal width. Pure.
import { parseUs } from "./time";

export interface Bar {
  us: number;
  count: number;
}

/** Bins that are left out hold nothing; at most `max` bars, each of whole bins. */
export function bars(bins: readonly { time: string; count: number }[], fromUs: number, toUs: number, binUs: number, max: number): Bar[] {
  if (!(toUs > fromUs) || !(binUs > 0)) return [];
  const begin = Math.floor(fromUs / binUs) * binUs;
  const all = Math.max(1, Math.ceil((toUs - begin) / binUs));
  const each = Math.ceil(all / max);
  const out = Array.from({ length: Math.ceil(all / each) }, (_, n) => ({ us: begin + n * each * binUs, count: 0 }));
  for (const { time, count } of bins) {
    const bar = out[Math.floor((parseUs(time) - begin) / (binUs * each))];
    if (bar) bar.count += count;
  }
  return out;
}
