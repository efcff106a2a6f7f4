import { expect, it } from "vitest";
import { bytes, compact, count, plural } from "./number";

it("groups digits", () => expect(count(1234567)).toBe("1,234,567"));
it("shortens", () => expect([compact(999), compact(1234567)]).toEqual(["999", "1.2M"]));
it("counts bytes", () =>
  expect([bytes(0), bytes(999), bytes(1434000), bytes(512e9)]).toEqual(["0 B", "999 B", "1.4 MB", "512 GB"]));
it("minds one", () => expect([plural(1, "line"), plural(2000, "line")]).toEqual(["1 line", "2,000 lines"]));
