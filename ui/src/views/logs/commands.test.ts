import { expect, it } from "vitest";
import { cordwood, curl } from "./commands";

const query = { filter: "msg:\"it's\" level>=warn", from: "-15m", to: "", at: "" };

it("asks the same with curl", () =>
  expect(curl("http://localhost:9600", query)).toBe(
    `curl -sG http://localhost:9600/api/platform/logs --data-urlencode 'filter=msg:"it'\\''s" level>=warn' --data-urlencode from=-15m`,
  ));
it("asks the same with cordwood", () =>
  expect(cordwood(query)).toBe(`cordwood query --since 15m -- 'msg:"it'\\''s" level>=warn'`));
it("asks for everything", () => expect(cordwood({ filter: "", from: "", to: "", at: "" })).toBe("cordwood query"));
