import { expect, it } from "vitest";
import { Heights } from "./heights";

const list = () => new Heights<string>(20, (key) => key);
const keys = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `k${from + n}`);

it("knows where rows lie before and after they were measured", () => {
  const heights = list();
  heights.rows(keys(0, 100));
  expect([heights.top(10), heights.total(), heights.at(205)]).toEqual([200, 2000, 10]);
  expect(heights.measure(3, 50)).toBe(true);
  expect(heights.measure(3, 50)).toBe(false);
  expect([heights.top(3), heights.top(4), heights.total(), heights.at(109), heights.at(110)]).toEqual([60, 110, 2030, 3, 4]);
});

it("keeps what was measured when rows come at either end or go", () => {
  const heights = list();
  heights.rows(keys(100, 200));
  heights.measure(0, 40);
  heights.rows(keys(50, 200));
  expect([heights.top(50), heights.top(51)]).toEqual([1000, 1040]);
  heights.rows(keys(50, 260));
  expect(heights.total()).toBe(210 * 20 + 20);
  heights.rows(keys(150, 260));
  expect(heights.total()).toBe(110 * 20);
});

it("finds a row that moved", () => {
  const heights = list();
  heights.rows(keys(50, 200));
  expect([heights.find("k100", 0), heights.find("k50", 140), heights.find("gone", 7)]).toEqual([50, 0, -1]);
});

it("is empty without rows", () => {
  const heights = list();
  expect([heights.total(), heights.at(100), heights.find("x", 0)]).toEqual([0, 0, -1]);
});

it("drops the measures of rows that are gone", () => {
  const heights = list();
  for (let begin = 0; begin < 100_000; begin += 500) {
    heights.rows(keys(begin, begin + 1000));
    for (let n = 0; n < 1000; n++) heights.measure(n, 40);
  }
  expect(heights.known).toBeLessThan(6000);
  expect(heights.total()).toBe(1000 * 40);
});
