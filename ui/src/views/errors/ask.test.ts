import { expect, it } from "vitest";
import { inPlace } from "./ask";

it("leaves groups where somebody points at them: what changed in its place, what is new behind, what is gone away", () => {
  const group = (signature: string, count: number) => ({ signature, count });
  const now = [group("d", 9), group("c", 8), group("a", 2)];
  expect(inPlace([group("a", 1), group("b", 1), group("c", 1)], now)).toEqual([group("a", 2), group("c", 8), group("d", 9)]);
});
