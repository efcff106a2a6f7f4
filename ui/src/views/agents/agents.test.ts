import { expect, it } from "vitest";
import { minutes, rowsOf, stateOf, totals, type Agent } from "./agents";

const agent = (node: string, more: Partial<Agent> = {}): Agent => ({ node, pod: `agent-${node}`, reachable: true, files: 3, lagBytes: 0, lagSeconds: 0, rulesGeneration: 4, ...more });
const list = (...items: Agent[]) => ({ askedAt: "2026-11-21T06:00:00Z", rulesGeneration: 4, items });

it("puts first who does not answer, then who loses lines soonest, then who is furthest behind", () => {
  const rows = rowsOf(
    list(
      agent("good"),
      agent("behind", { lagSeconds: 100 }),
      agent("further", { lagSeconds: 900 }),
      agent("soon", { minutesUntilLoss: 40 }),
      agent("now", { minutesUntilLoss: 9 }),
      agent("at-once", { minutesUntilLoss: 0.2 }),
      agent("stalled", { stalled: true }),
      { node: "away", reachable: false, reason: "the pod does not run" },
    ),
  );
  expect(rows.map((row) => row.agent.node)).toEqual(["away", "at-once", "now", "stalled", "soon", "further", "behind", "good"]);
});

it("takes what an older agent does not say for nothing bad", () => {
  expect(stateOf({ node: "old", reachable: true })).toBe("good");
  const [row] = rowsOf(list({ node: "old", reachable: true }));
  expect(row!.rulesBehind).toBe(false);
});

it("sums up, and marks what is not as it should be", () => {
  const rows = rowsOf(list(agent("a", { lagBytes: 1000, losses: 2, lostBytes: 500 }), agent("b", { lagBytes: 500, rulesGeneration: 3 }), { node: "c", reachable: false }));
  expect(totals(rows, 4).map(({ value, tone }) => [value, tone])).toEqual([
    ["2 of 3", "error"],
    ["1.5 KB", "plain"],
    ["0 s", "plain"],
    ["2 losses, 500 B", "error"],
    ["1 of 3", "warn"],
  ]);
  expect(totals(rows, undefined)).toHaveLength(4);
});

it("writes minutes for people", () => {
  expect([0, 0.9, 4.7, 180].map(minutes)).toEqual(["under 1 min", "under 1 min", "4 min", "3 h"]);
});
