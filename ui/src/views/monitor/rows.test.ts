import { expect, it } from "vitest";
import { frameOf, kept } from "./rows";

const data = { timestamp: "2026-11-21T06:00:02.123Z", level: "INFO", logger: "a.b", message: "m", module: "server", function: "spawn", line: 142 };

it("reads a frame of its own panel, and passes over others", () => {
  expect(frameOf({ type: "system_log", data }, "system", () => 7)).toMatchObject({ key: "7", level: "INFO", module: "server", function: "spawn", line: "142", action: "" });
  expect(frameOf({ type: "system_log", data }, "audit", () => 7)).toBeNull();
  expect(frameOf({ type: "later", data }, "system", () => 7)).toBeNull();
  expect(frameOf(null as never, "system", () => 7)).toBeNull();
  expect(frameOf({ type: "audit_log", data: { ...data, action: "x", metadata: { a: "b", n: [1] } } }, "audit", () => 1)).toMatchObject({ action: "x", metadata: "a=b n=[1]" });
});

it("keeps the last and counts what it drops", () => {
  expect(kept([1, 2], [3], 5)).toEqual({ rows: [1, 2, 3], gone: 0 });
  expect(kept([1, 2, 3], [4, 5, 6], 4)).toEqual({ rows: [3, 4, 5, 6], gone: 2 });
  expect(kept([], [1, 2, 3], 2)).toEqual({ rows: [2, 3], gone: 1 });
  const same = [1];
  expect(kept(same, [], 2).rows).toBe(same);
});
