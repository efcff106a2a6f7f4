import { describe, expect, it } from "vitest";
import { compareIds, compareRows, gapRow, merged, recordRow, type Row } from "./rows";

const row = (us: number, n: number): Row =>
  recordRow({ category: "system", stream: "stdout", tenantId: "local", tenantSlug: "local", id: `${us}.0-0-${n.toString(16)}`, timestamp: new Date(us / 1000).toISOString(), level: "INFO", message: `${n}` });

it("orders ids by their numbers", () => {
  expect(compareIds("1795240802500000.0-0-9", "1795240802500000.0-0-10")).toBeLessThan(0);
  expect(compareIds("1795240802500000.0-10-1", "1795240802500000.0-f-2")).toBeGreaterThan(0);
  expect(compareIds("1795240802500000.0-9-1", "1795240802500000.0-a-1")).toBeLessThan(0);
  expect(compareIds("1795240802500000.0-0-1", "1795240802500000.0-0-1")).toBe(0);
});

describe("merging", () => {
  const all = Array.from({ length: 400 }, (_, n) => row(1_795_240_802_000_000 + Math.floor(n / 50) * 1000, n));
  const keys = (rows: readonly Row[]) => rows.map(({ key }) => key);

  it("gives each row once and in order, however it comes", () => {
    let seed = 7;
    const random = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
    for (let round = 0; round < 100; round++) {
      let rows: Row[] = [];
      for (let n = 0; n < 12; n++) {
        const from = random(380);
        const part = all.slice(from, from + 1 + random(60));
        rows = merged(rows, random(2) ? part.toReversed() : part);
      }
      const expected = all.filter(({ key }) => new Set(keys(rows)).has(key));
      expect(keys(rows)).toEqual(keys(expected));
    }
  });

  it("takes what comes later at the same time", () => {
    expect(keys(merged(all.slice(0, 10), all.slice(5, 15)))).toEqual(keys(all.slice(0, 15)));
    expect(merged([], [])).toEqual([]);
  });

  it("puts a gap behind the records of its end", () => {
    const gap = gapRow({ type: "gap", to: "2026-11-21T06:00:02Z", count: 3, reason: "slow", cursor: "c" });
    const rows = merged([row(1_795_240_802_000_000, 1), row(1_795_240_802_001_000, 2)], [gap]);
    expect(rows.map(({ kind }) => kind)).toEqual(["record", "gap", "record"]);
    expect(compareRows(gap, gap)).not.toBeNaN();
  });
});
