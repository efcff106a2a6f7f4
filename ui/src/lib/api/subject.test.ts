import { expect, it } from "vitest";
import { subjectOf } from "./subject";

it.each([
  ["oidc:anna", "oidc", "--user='oidc:anna'"],
  ["system:serviceaccount:ci:robot", "kubernetes", "--serviceaccount='ci:robot'"],
  ["o'neill; rm", "kubernetes", "--user='o'\\''neill; rm'"],
  ["anna", "token", ""],
  ["loopback", "loopback", ""],
] as const)("%s (%s) is %s", (name, knownBy, subject) => {
  expect(subjectOf({ name, knownBy })).toBe(subject);
});
