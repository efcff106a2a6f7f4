import { expect, it } from "vitest";
import { bars } from "./trend";

const hour = 3600e6;
const t0 = Date.parse("2026-11-21T06:00:00Z") * 1000;
const at = (n: number, count: number) => ({ time: new Date((t0 + n * hour) / 1000).toISOString(), count });

it("fills in what is left out", () => {
  expect(bars([at(0, 2), at(3, 5)], t0, t0 + 4 * hour, hour, 50).map(({ count }) => count)).toEqual([2, 0, 0, 5]);
});

it("sums up where there are more bins than bars, and loses none", () => {
  const bins = Array.from({ length: 100 }, (_, n) => at(n, 1));
  const few = bars(bins, t0, t0 + 100 * hour, hour, 30);
  expect(few.length).toBeLessThanOrEqual(30);
  expect(few.reduce((sum, { count }) => sum + count, 0)).toBe(100);
});

it("is empty where there is no time", () => expect(bars([at(0, 1)], t0, t0, hour, 10)).toEqual([]));
