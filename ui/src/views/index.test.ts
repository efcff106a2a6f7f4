import { expect, it } from "vitest";
import { placeOf } from "./index";

it.each([
  ["/", "logs", ""],
  ["/logs", "logs", ""],
  ["/whoami", "whoami", ""],
  ["/whoami/a%2Fb%20c", "whoami", "a/b c"],
  ["/whoami/%E0%A4%A", "whoami", "%E0%A4%A"],
  ["/whoamis", undefined, ""],
])("%s is a place", (path, name, rest) => {
  const place = placeOf(path);
  expect([place.view?.name, place.rest]).toEqual([name, rest]);
});
