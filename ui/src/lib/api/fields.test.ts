import { expect, it } from "vitest";
import { FieldErrors } from "./fields";
import { Problem } from "./problem";

const wrong = (...fields: string[]) =>
  new Problem({ type: "urn:cordwood:problem:invalid", title: "", status: 422, detail: "", errors: fields.map((field) => ({ field, message: `${field} is wrong` })) });

it("gives each field what is said of it and of its parts, and of no other", () => {
  const errors = new FieldErrors(wrong("spec.retention.info", "spec.match.services[0]", "spec.matches"));
  expect(errors.of("spec.retention.info")).toBe("spec.retention.info is wrong");
  expect(errors.of("spec.match")).toBe("spec.match.services[0] is wrong");
  expect(errors.of("spec.match.services")).toBe("spec.match.services[0] is wrong");
  expect(errors.of("spec.retention.warn")).toBe("");
});

it("knows whether something has no place among the fields of a form", () => {
  expect(new FieldErrors(wrong("target.service", "level")).allOf(["target", "level"])).toBe(true);
  expect(new FieldErrors(wrong("target.service", "levels")).allOf(["target", "level"])).toBe(false);
  expect(new FieldErrors(wrong()).allOf(["target"])).toBe(false);
  expect(new FieldErrors(null).of("target")).toBe("");
});
