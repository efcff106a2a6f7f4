import { expect, it } from "vitest";
import { Problem, problemOf } from "./problem";

const said = (detail: string, parameter?: string) => new Problem({ type: "urn:cordwood:problem:x", title: "X", status: 400, detail, parameter }).detail;

it("says a refusal as a sentence", () => {
  expect(said("how the agents are cannot be found out for the moment")).toBe("How the agents are cannot be found out for the moment");
  expect(said('"wran" is not a level')).toBe('"wran" is not a level');
  expect(said("The database is away")).toBe("The database is away");
});

it("leaves a name as it is written", () => {
  expect(said("from is not before to", "from")).toBe("from is not before to");
  expect(said("metadata.name is taken")).toBe("metadata.name is taken");
  expect(said("errors[0] is wrong")).toBe("errors[0] is wrong");
});

it("makes a problem of whatever a proxy answers", () => {
  expect(problemOf(502, null, null)).toMatchObject({ status: 502, title: "The gateway failed" });
  expect(problemOf(429, "<h1>", "7")).toMatchObject({ status: 429, retryAfter: 7, passes: true });
});
