import { describe, expect, it } from "vitest";
import { ago, clock, dated, exact, instant, parseUs, rfc3339, typed, typedPast } from "./time";

const AT = 1_795_240_802_500_123;

describe("times", () => {
  it.each([
    ["2026-11-21T06:00:02.500123Z", AT],
    ["2026-11-21T08:00:02.500123+02:00", AT],
    ["2026-11-21T06:00:02Z", AT - 500_123],
    ["2026-11-21T06:00:02.5Z", AT - 123],
    ["2026-11-21T06:00:02.500123999Z", AT],
  ])("reads %s", (text, us) => expect(parseUs(text)).toBe(us));

  it("reads nothing into what is no time", () => {
    for (const text of ["", "now", "2026-11-21", "06:00"]) expect(parseUs(text)).toBeNaN();
  });

  it("writes what it read", () => expect(rfc3339(AT)).toBe("2026-11-21T06:00:02.500123Z"));
  it("keeps the milliseconds of a line", () => expect(clock(AT, "utc")).toBe("06:00:02.500"));
  it("says the day of a line of another day", () => expect(dated(AT, "utc")).toBe("11-21 06:00:02.500"));
  it("says everything", () => expect(exact(AT, "utc")).toBe("2026-11-21 06:00:02.500123 UTC"));

  it.each([
    [AT - 12e6, "12 s ago"],
    [AT - 200e6, "3 min ago"],
    [AT - 7300e6, "2 h ago"],
    [AT - 5 * 86400e6, "5 d ago"],
    [AT + 180e6, "in 3 min"],
    [AT, "now"],
  ])("says how long ago %i is", (us, text) => expect(ago(us, AT)).toBe(text));

  it.each([
    ["now", AT],
    ["-15m", AT - 900e6],
    ["-2h", AT - 7200e6],
    ["2026-11-21T06:00:02.500123Z", AT],
  ])("knows %s in an address", (text, us) => expect(instant(text, AT)).toBe(us));

  it.each([
    ["06:00:02", AT - 500_123],
    ["6:00", AT - 2_500_123],
    ["2026-11-21 06:00:02.5", AT - 123],
    ["2026-11-21", AT - 6 * 3600e6 - 2_500_123],
  ])("jumps to %s", (text, us) => expect(typed(text, AT, "utc")).toBe(us));

  it("jumps nowhere by what is no time", () => expect(typed("soon", AT, "utc")).toBeNaN());

  it.each([
    ["2026-11-21 07:00:02.500123 UTC+01:00", AT],
    ["2026-11-21 06:00:02.500123 UTC", AT],
    ["06:00:02,500", AT - 123],
    ["06:00:02.500123456", AT],
  ])("jumps to what was copied: %s", (text, us) => expect(typed(text, AT, "utc")).toBe(us));

  it.each(["2026-02-30", "2026-04-31 06:00", "2026-13-01", "-99999999w", "25:00", "06:61"])("jumps nowhere by %s", (text) => expect(typed(text, AT, "utc")).toBeNaN());

  it("takes a time that is still to come today for yesterday's", () => {
    expect(typedPast("23:50", AT, "utc")).toBe(typed("2026-11-20 23:50", AT, "utc"));
    expect(typedPast("05:00", AT, "utc")).toBe(typed("2026-11-21 05:00", AT, "utc"));
    expect(typedPast("2026-11-21 23:50", AT, "utc")).toBe(typed("2026-11-21 23:50", AT, "utc"));
    expect(typedPast("soon", AT, "utc")).toBeNaN();
  });
});
