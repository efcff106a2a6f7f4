import { expect, it } from "vitest";
import { asked, detailOf, joined, levelsOf, matcher, namespacesOf, pair, progressOf, type TaskFilter, type TaskLine, toggled } from "./lines";

const line = (id: number, more: Partial<TaskLine> = {}): TaskLine => ({
  id,
  task_id: "4711",
  timestamp: `2026-11-21T06:00:0${Math.floor(id / 10)}.000000Z`,
  level: "INFO",
  source: "system",
  message: `step ${id}`,
  ...more,
});
const matches = (line: TaskLine, filter: TaskFilter) => matcher(filter)(line);
const all: TaskFilter = { levels: levelsOf([]), sources: [], text: "", metadata: [] };

it("shows INFO and above unless levels are chosen", () => {
  expect(matches(line(1), all)).toBe(true);
  expect(matches(line(1, { level: "DEBUG" }), all)).toBe(false);
  expect(levelsOf(["ERROR", "DEBUG", "LOUD"])).toEqual(["DEBUG", "ERROR"]);
  expect(toggled(["INFO", "ERROR"], "INFO")).toEqual(["ERROR"]);
});

it("narrows by source, text in any case, and metadata as far within as it is", () => {
  const one = line(1, { source: "plugin", message: "Migrated Chart", metadata: { dashboard: 7, a: { b: "x" }, "a.c": true } });
  expect(matches(one, { ...all, sources: ["plugin"], text: "chart", metadata: ["dashboard=7", "a.b=x", "a.c=true"] })).toBe(true);
  for (const metadata of ["dashboard=8", "a.b=y", "toString=1", "b=x"]) expect(matches(one, { ...all, metadata: [metadata] })).toBe(false);
  expect(matches(one, { ...all, sources: ["api"] })).toBe(false);
});

it("asks the API for what it shows", () => {
  expect(asked({ levels: ["INFO"], sources: ["a b"], text: "x", metadata: ["k=v", "wrong"] }, "shop").toString()).toBe(
    "level=INFO&source=a+b&search=x&metadata.k=v&namespace=shop",
  );
  expect([pair("a=b=c"), pair("=b"), pair("none")]).toEqual([["a", "b=c"], null, null]);
});

it("reads the progress, and keeps it within its bounds", () => {
  expect([42, -3, 400, "42", null].map((progress) => progressOf(line(1, { metadata: { progress } })))).toEqual([42, 0, 100, null, null]);
  expect(detailOf(line(1, { metadata: { progress: 3, step: "a", n: [1] } }))).toBe('step=a n=[1]');
});

it("joins what comes twice or late", () => {
  const ids = joined([line(1), line(5), line(30)], [line(30), line(31), line(12), line(31)]).map(({ id }) => id);
  expect(ids).toEqual([1, 5, 12, 30, 31]);
});

it("finds the namespaces that a refusal names", () => {
  expect(namespacesOf("several namespaces have a task of this id: say which with namespace=, of bank, shop-eu")).toEqual(["bank", "shop-eu"]);
  expect(namespacesOf("something else")).toEqual([]);
});
