import { describe, expect, it } from "vitest";
import { amountOf, bodyOf, conditionsOf, consequence, formOf, keptLongest, sameDuration, withTimes, type Policy, type Preview } from "./policies";

const SPEC: Policy["spec"] = {
  match: { services: ["mail", "shop-*"], categories: ["audit"] },
  priority: 5,
  retention: { error: "30d", warn: "14d", info: "3d", debug: "12h" },
  gracePeriod: "24h",
  dropLimit: { bytes: "50Gi", partitions: 10 },
  suspend: false,
  legalHold: false,
  mode: "Apply",
};

it("makes of a policy's form the policy that it was", () => {
  const body = bodyOf(formOf("mail", SPEC), "7");
  expect(body.metadata).toEqual({ name: "mail", resourceVersion: "7" });
  expect(body.spec).toEqual(SPEC);
});

it("keeps what one pass detaches, and says nothing of it where the policy does not", () => {
  expect(bodyOf(formOf("mail", { ...SPEC, detachPerPass: 2 })).spec).toEqual({ ...SPEC, detachPerPass: 2 });
  expect(bodyOf(formOf("mail", SPEC)).spec).not.toHaveProperty("detachPerPass");
  expect(bodyOf({ ...formOf("mail", { ...SPEC, detachPerPass: 2 }), detachPerPass: " " }).spec).not.toHaveProperty("detachPerPass");
  expect(bodyOf({ ...formOf("mail", SPEC), detachPerPass: "few" }).spec.detachPerPass).toBe("few");
});

it("starts a new one with what a policy that says nothing has", () => {
  expect(bodyOf(formOf("new")).spec).toEqual({ ...SPEC, match: {}, priority: 0, retention: { error: "30d", warn: "14d", info: "7d", debug: "1d" } });
});

it("leaves what is no number to the API, which says what is wrong with it", () => {
  const form = { ...formOf("new"), priority: "high", services: " a,b  c ," };
  expect(bodyOf(form).spec.priority).toBe("high");
  expect(bodyOf(form).spec.match.services).toEqual(["a", "b", "c"]);
});

describe("what is the matter", () => {
  const policy = (spec: object, ...conditions: [string, string, string][]) =>
    ({ spec: { ...SPEC, ...spec }, status: { conditions: conditions.map(([type, status, message]) => ({ type, status, message, reason: "", lastTransitionTime: "" })) } }) as unknown as Policy;
  const words = (one: Policy) => conditionsOf(one).map(({ word }) => word);

  it("is nothing where it is ready", () => {
    expect(words(policy({}, ["Ready", "True", ""], ["Held", "False", ""], ["Conflict", "False", ""]))).toEqual(["Ready"]);
    expect(words(policy({}))).toEqual(["On its way"]);
  });
  it("tells a policy that is tried out from one that is suspended or held", () => {
    const ready = ["Ready", "True", ""] as [string, string, string];
    expect(words(policy({ mode: "Plan" }, ready))).toEqual(["Tried out"]);
    expect(words(policy({ suspend: true }, ready))).toEqual(["Suspended"]);
    expect(words(policy({ mode: "Plan", legalHold: true }, ready))).toEqual(["Tried out", "Legal hold"]);
  });
  it("names each thing", () => {
    expect(words(policy({ legalHold: true, suspend: true }, ["Ready", "True", ""], ["Held", "True", "x"], ["Conflict", "True", "y"], ["Accepted", "False", "z"], ["ChosenByPods", "True", "w"]))).toEqual(["Not followed", "Conflict", "Pods choose", "Legal hold", "Held"]);
  });
});

it("says what a change does to what is stored", () => {
  const of = (sooner: number, later: number) => consequence({ sooner: { partitions: sooner, bytes: 1e6 }, later: { partitions: later, bytes: 2000 } } as Preview);
  expect(of(1, 0)).toBe("1 partition (1.0 MB) goes sooner");
  expect(of(2, 3)).toBe("2 partitions (1.0 MB) go sooner, 3 partitions (2.0 KB) stay longer");
  expect(of(0, 0)).toBe("no stored record goes at another time");
});

it("says how much, and nothing of records that are not counted", () => {
  expect(amountOf({ partitions: 2, records: 1204, bytes: 1e6 })).toBe("2 partitions, 1,204 records, 1.0 MB");
  expect(amountOf({ partitions: 1, records: 0, bytes: 2000 })).toBe("1 partition, 0 records, 2.0 KB");
  expect(amountOf({ partitions: 1, bytes: 2000 })).toBe("1 partition, 2.0 KB");
});

it("knows that a length of time is the same in other units", () => {
  expect([["2y", "730d"], ["1h30m", "90m"], ["24h", "1d"], ["7d", "1w"]].every(([a, b]) => sameDuration(a!, b!))).toBe(true);
  expect(sameDuration("7d", "3d")).toBe(false);
});

it("writes the planner's times as the page does", () => {
  expect(withTimes("until 2026-11-29T16:13:22.054814Z, or 2026-11-30T00:00:00Z", "utc")).toBe("until 2026-11-29 16:13:22 UTC, or 2026-11-30 00:00:00 UTC");
  expect(withTimes("until approved", "utc")).toBe("until approved");
});

it("knows what is kept longest, by the default too", () => {
  const policy = (name: string, spec: Partial<Policy["spec"]>) => ({ metadata: { name }, spec: { ...SPEC, ...spec } }) as Policy;
  expect(keptLongest([])).toMatchObject({ policy: "default", level: "error", retention: "30d" });
  expect(keptLongest([policy("mail", { retention: { ...SPEC.retention, info: "2y" } })])).toMatchObject({ policy: "mail", level: "info", us: 730 * 86400e6 });
  expect(keptLongest([policy("default", { retention: { error: "1d", warn: "1d", info: "36h", debug: "1d" } })])).toMatchObject({ policy: "default", level: "info" });
  expect(keptLongest([policy("held", { legalHold: true })])).toBe(null);
});
