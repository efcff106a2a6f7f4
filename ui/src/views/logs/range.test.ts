import { expect, it } from "vitest";
import { countedFrom, fixedRange, isRange, rangeLabel } from "./range";

const NOW = 1_795_240_802_000_000;

it.each([
  ["", "", "Latest"],
  ["-15m", "", "Last 15 minutes"],
  ["-15m", "now", "Last 15 minutes"],
  ["2026-11-21T05:00:00Z", "2026-11-21T05:30:00Z", "2026-11-21 05:00:00 – 05:30:00"],
  ["2026-11-20T05:00:00Z", "2026-11-21T05:30:00Z", "2026-11-20 05:00:00 – 2026-11-21 05:30:00"],
  ["2026-11-21T05:00:00Z", "", "2026-11-21 05:00:00 – now"],
  ["", "2026-11-21T05:00:00Z", "… – 2026-11-21 05:00:00"],
])("%s to %s is called %s", (from, to, label) => expect(rangeLabel(from, to, "utc", NOW)).toBe(label));

it("counts as far back as the list begins", () => {
  expect(countedFrom("", null, NOW)).toBe(NOW - 3600e6);
  expect(countedFrom("", NOW - 5e6, NOW)).toBe(NOW - 3600e6);
  expect(countedFrom("", NOW - 2 * 3600e6, NOW)).toBe(NOW - 6 * 3600e6);
  expect(countedFrom("-15m", null, NOW)).toBe(NOW - 900e6);
});

it("makes a range that stays what it is", () => {
  const now = Date.parse("2026-11-21T07:00:00Z") * 1000;
  const hour = { from: "2026-11-21T06:00:00.000000Z", to: "2026-11-21T07:00:00.000000Z" };
  expect(fixedRange("-1h", "", null, now)).toEqual(hour);
  expect(fixedRange("", "", now - 3600e6, now)).toEqual(hour);
  expect(fixedRange("", "", null, now)).toEqual(hour);
  expect(fixedRange("2026-11-21T06:00:00Z", "2026-11-21T07:00:00Z", 5, now + 9e9)).toEqual(hour);
});

it("knows whether an address has a range that can be written out", () => {
  for (const [from, to] of [["", ""], ["-15m", ""], ["", "2026-11-21T06:00:00Z"], ["-2h", "now"]]) expect(isRange(from!, to!)).toBe(true);
  for (const [from, to] of [["garbage", ""], ["", "2026-13-45T99:99:99Z"], ["-1h", "soon"]]) expect(isRange(from!, to!)).toBe(false);
});
