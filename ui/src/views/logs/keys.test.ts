import { expect, it } from "vitest";
import { beginning, commandOf } from "./keys";

const press = (key: string) => ({ key, modified: false, inField: false });

it("means what the sheet says", () => {
  expect(["/", " ", "j", "G", "?", "q"].map((key) => commandOf(press(key), ""))).toEqual(["filter", "toggle", "next", "newest", "sheet", null]);
  expect(commandOf(press("t"), "g")).toBe("time");
  expect(commandOf(press("t"), "")).toBeNull();
});
it("leaves fields and the browser alone", () => {
  expect(commandOf({ ...press("j"), inField: true }, "")).toBeNull();
  expect(commandOf({ ...press("c"), modified: true }, "")).toBeNull();
});
it.each([
  ["payment provider slow: 2310 ms", "payment provider slow:"],
  ["GET /products/17 200", "GET"],
  ["4711 placed", "4711 placed"],
  ["all is well", "all is well"],
])("%s begins with %s", (message, expected) => expect(beginning(message)).toBe(expected));
