import { expect, it } from "vitest";
import type { LogRecord } from "$lib/api/client";
import { added, columnsOf, columnsText, moved, valueOf } from "./columns";

it("is in the address as it was chosen", () => {
  expect(columnsText(columnsOf(""))).toBe("");
  expect(columnsText(columnsOf("none"))).toBe("none");
  expect(columnsText(columnsOf("pod:90,data.a.b"))).toBe("pod:90,data.a.b:140");
  expect(columnsOf("pod:90,pod:100,x:9,y:99999").map(({ width }) => width)).toEqual([90, 48, 600]);
});
it("moves and adds", () => {
  const columns = columnsOf("a:50,b:60");
  expect(columnsText(moved(columns, "a", 1))).toBe("b:60,a:50");
  expect(columnsText(moved(columns, "a", -1))).toBe("a:50,b:60");
  expect(columnsText(added(added(columns, "c"), "a"))).toBe("a:50,b:60,c:140");
});
it.each([
  ["service", "checkout"],
  ["data.orderId", "17"],
  ["data.http.status", "503"],
  ["data.user.id", "42"],
  ["data.list", "[1,2]"],
  ["data.none", ""],
  ["tenant", "acme"],
  ["pod", ""],
])("finds %s", (field, value) =>
  expect(valueOf({ service: "checkout", tenantSlug: "acme", data: { orderId: 17, "http.status": 503, user: { id: 42 }, list: [1, 2], none: null } } as unknown as LogRecord, field)).toBe(value),
);
