import { describe, expect, it } from "vitest";
import { clicked, quoted, termsOf, type Way } from "./filter";

it.each([
  ["checkout", "checkout"],
  ["billing eu", '"billing eu"'],
  ['a"b\\c', '"a\\"b\\\\c"'],
  ["or", '"or"'],
  ["", '""'],
  ["a*", '"a*"'],
  ["支付", "支付"],
])("writes %s as %s", (value, text) => expect(quoted(value)).toBe(text));

describe("clicks", () => {
  it.each<[string, string, string, Way, string]>([
    ["", "service", "checkout", "include", "service=checkout"],
    ["service=checkout", "service", "mail", "include", "service IN (checkout, mail)"],
    ["service IN (checkout, mail)", "service", "checkout", "include", "service=mail"],
    ["service=checkout", "service", "checkout", "include", ""],
    ["timeout service=checkout", "service", "checkout", "exclude", "timeout service!=checkout"],
    ["service!=checkout", "service", "checkout", "exclude", ""],
    ["service!=a service!=b x", "service", "c", "only", "x service=c"],
    ["service=a", "service", "", "missing", "service NOT EXISTS"],
    ["service NOT EXISTS", "service", "", "missing", ""],
    ["a OR b", "level", "error", "include", "(a OR b) level=error"],
    ['"x OR y"', "level", "error", "include", '"x OR y" level=error'],
    ['service="billing eu" z', "service", "mail", "include", 'z service IN ("billing eu", mail)'],
    ["data.a.b=1", "data.a", "2", "include", "data.a.b=1 data.a=2"],
    ["microservice=a", "service", "b", "include", "microservice=a service=b"],
  ])("%j: %s %s %s gives %j", (filter, field, value, way, expected) => expect(clicked(filter, field, value, way)).toBe(expected));
});

it("reads what stands about a field, and only at the top", () => {
  expect(termsOf('service IN (a, "b c") service!=d (x OR service=e)', "service")).toEqual({
    included: ["a", "b c"],
    excluded: ["d"],
    missing: false,
  });
});
