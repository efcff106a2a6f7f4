import { expect, it } from "vitest";
import { Slots } from "./slots";

function taken(slots: Slots, keys: readonly string[], reuse: boolean): number[] {
  slots.take(keys, reuse);
  return keys.map((key) => slots.of(key));
}

it("keeps the element of a row that stays, and gives those of rows that went to rows that come", () => {
  const slots = new Slots();
  expect(taken(slots, ["a", "b", "c"], true)).toEqual([0, 1, 2]);
  expect(taken(slots, ["b", "c", "d"], true)).toEqual([1, 2, 0]);
  expect(taken(slots, ["x", "y", "z", "w"], true)).toEqual([1, 2, 0, 3]);
});

it("gives each row an element of its own while somebody reads", () => {
  const slots = new Slots();
  slots.take(["a", "b", "c"], true);
  expect(taken(slots, ["b", "c", "d"], false)).toEqual([1, 2, 3]);
  expect(taken(slots, ["c", "d", "e"], false)).toEqual([2, 3, 4]);
});

it("never gives an element to two rows", () => {
  const slots = new Slots();
  for (let begin = 0; begin < 300; begin += 7) {
    const keys = Array.from({ length: 10 + (begin % 13) }, (_, n) => `k${begin + n}`);
    expect(new Set(taken(slots, keys, begin % 3 > 0)).size).toBe(keys.length);
  }
});
