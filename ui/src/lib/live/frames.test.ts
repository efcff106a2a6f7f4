import { describe, expect, it } from "vitest";
import { afterClose, delayMs, frameOf } from "./frames";

describe("frames", () => {
  it("reads what the gateway says", () => {
    const frame = frameOf('{"type":"gap","to":"2026-11-21T06:00:00Z","count":null,"reason":"slow","cursor":"v1~1"}');
    expect(frame).toMatchObject({ type: "gap", count: null });
  });
  it.each(["", "{", "[]", "null", "{}", '{"type":"later"}', '"records"'])("passes over %s", (text) =>
    expect(frameOf(text)).toBeNull(),
  );
});

it("knows what a close code asks for", () => {
  expect([4401, 4403, 4429, 1012, 1006].map((code) => afterClose(code).then)).toEqual([
    "login",
    "at-once",
    "again",
    "again",
    "again",
  ]);
});

it("waits longer each time, and never too long", () => {
  expect([0, 1, 2].map((attempt) => delayMs(attempt, 1))).toEqual([500, 1000, 2000]);
  expect(delayMs(50, 1)).toBe(15_000);
  expect(delayMs(0, 0)).toBe(250);
});
