import { expect, it } from "vitest";
import { offered, pageOf } from "./pages";

it.each([
  ["", 1],
  ["3", 3],
  ["0", 1],
  ["-2", 1],
  ["x", 1],
  ["9999999", 1_000_001],
])("page %j is %i", (text, page) => expect(pageOf(text)).toBe(page));

it("offers the first, the neighbours, and the next while there may be one", () => {
  expect(offered(1, false)).toEqual([1]);
  expect(offered(1, true)).toEqual([1, 2]);
  expect(offered(5, true)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(offered(9, false)).toEqual([1, null, 6, 7, 8, 9]);
});
