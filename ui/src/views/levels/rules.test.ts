import { describe, expect, it } from "vitest";
import { changed, left, ruleOf, sorted, type Config } from "./rules";

const NOW = Date.parse("2026-11-21T06:00:00Z") * 1000;
const condition = (type: string, status: string, reason = "", message = "") => ({ type, status, reason, message, lastTransitionTime: "2026-11-21T05:00:00Z" });

function config(name: string, spec: object, conditions = [condition("Active", "True")], namespace?: string): Config {
  return {
    apiVersion: "cordwood.dev/v1alpha1",
    kind: namespace ? "LogLevelConfig" : "ClusterLogLevelConfig",
    metadata: { name, namespace, resourceVersion: "7" },
    spec: { level: "WARN", scope: "application", selector: {}, unleveled: "keep", ...spec },
    status: { conditions, agentsApplied: 2, agentsTotal: 3 },
  } as Config;
}

describe("a rule", () => {
  it("is in force, waits, is refused or has ended", () => {
    const later = { service: "mail", expiresAt: "2026-11-21T06:30:00Z" };
    expect(ruleOf(config("a", later), NOW)).toMatchObject({ state: "active", target: "mail", permanent: false, applied: 2, agents: 3, endsUs: NOW + 1800e6 });
    expect(ruleOf(config("a", later, []), NOW).state).toBe("waiting");
    const refused = ruleOf(config("a", later, [condition("Accepted", "False", "TooMany", "there are too many")]), NOW);
    expect(refused).toMatchObject({ state: "refused", notes: ["there are too many"] });
    expect(ruleOf(config("a", { ...later, expiresAt: "2026-11-21T05:59:00Z" }), NOW).state).toBe("ended");
  });

  it("says what is in its way, and nothing of what merely is not so", () => {
    const conditions = [condition("Active", "True"), condition("Conflict", "True", "SameRecords", "b matches too"), condition("Applied", "False", "AgentsBehind", "2/3"), condition("DebugScopes", "False", "NotSupported", "not done yet")];
    expect(ruleOf(config("a", { expiresAt: "2026-11-21T06:30:00Z" }, conditions), NOW).notes).toEqual(["b matches too", "not done yet"]);
    expect(ruleOf(config("a", { default: true }, [condition("Conflict", "False", "NoConflict", "none")]), NOW).notes).toEqual([]);
  });

  it("says what it is about", () => {
    expect(ruleOf(config("a", { default: true }), NOW).target).toBe("Everything");
    expect(ruleOf(config("a", {}, [], "shop"), NOW).target).toBe("All of the namespace");
    const some = ruleOf(config("a", { selector: { matchLabels: { app: "x" } }, containers: ["web"] }), NOW);
    expect([some.target, ...some.more]).toEqual(["What has", "app=x", "container web"]);
  });
});

it("tells apart what stays, what is for a while and what has ended", () => {
  const all = [
    config("late", { expiresAt: "2026-11-21T08:00:00Z" }),
    config("stays", { default: true }),
    config("over", { expiresAt: "2026-11-21T05:00:00Z" }),
    config("soon", { expiresAt: "2026-11-21T06:01:00Z" }),
    config("just-over", { expiresAt: "2026-11-21T05:59:00Z" }),
  ];
  const { forAWhile, permanent, ended } = sorted(all, NOW);
  expect([forAWhile, permanent, ended].map((rules) => rules.map(({ name }) => name))).toEqual([["soon", "late"], ["stays"], ["just-over", "over"]]);
});

it("shows the time that is left in two units", () => {
  expect([0, 59.2, 1798, 18180, 180000].map((seconds) => left(seconds * 1e6))).toEqual(["0 s", "59 s", "29 min 58 s", "5 h 3 min", "2 d 2 h"]);
});

it("changes one that it knows, and gives it one end", () => {
  const body = changed(config("a", { service: "mail", duration: "30m" }, [], "shop"), { expiresAt: "2026-11-21T07:00:00Z" });
  expect(body.metadata).toEqual({ name: "a", namespace: "shop", resourceVersion: "7" });
  expect(body.spec).toMatchObject({ service: "mail", expiresAt: "2026-11-21T07:00:00Z" });
  expect(body.spec).not.toHaveProperty("duration");
});
