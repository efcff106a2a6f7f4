import { expect, it, vi } from "vitest";

vi.stubGlobal("location", { pathname: "/", search: "" });
vi.stubGlobal("addEventListener", () => {});
const { offered } = await import("./commands");

const view = (name: string, path = `/${name}`) => ({ name, path, label: name[0]!.toUpperCase() + name.slice(1), icon: "logs" as const });
const known = {
  views: [view("logs", "/"), view("errors"), view("task"), view("plugin"), view("levels")],
  zone: "local" as const,
  theme: "system" as const,
  searches: [{ name: "Checkout's errors", query: "q=service%3Dcheckout" }],
  history: ["level>=WARN", "service=mail"],
};
const ids = (typed: string, more = {}) => offered(typed, { ...known, ...more }).map(({ id }) => id);
const go = (typed: string, id: string) => offered(typed, known).find((one) => one.id === id)?.go;

it("offers everything while nothing is typed", () => {
  expect(ids(" ")).toEqual(["view logs", "view errors", "view task", "view plugin", "view levels", "search Checkout's errors", "history level>=WARN", "history service=mail", "theme light", "theme dark", "zone"]);
  expect(offered("", { ...known, zone: "utc" }).at(-1)).toMatchObject({ zone: "local" });
});

it("puts what begins so before what only holds it", () => {
  expect(ids("err").slice(0, 2)).toEqual(["view errors", "search Checkout's errors"]);
  expect(ids("utc")[0]).toBe("zone");
  expect(ids("lvl")[0]).toBe("view levels");
});

it("makes of a text a task, a plugin, a service and a search", () => {
  expect(ids("4711")).toEqual(["task id", "plugin id", "service", "level", "filter"]);
  expect(go("4711", "task id")).toBe("/task/4711");
  expect(go("a:b", "plugin id")).toBe("/plugin/a%3Ab");
  expect(go("checkout", "service")).toBe("/?q=service%3Dcheckout");
  expect(go("checkout", "level")).toBe("/levels?service=checkout");
  expect(go('"no such" level=ERROR', "filter")).toBe("/?q=%22no+such%22+level%3DERROR");
  expect(ids('"no such" level=ERROR')).toEqual(["filter"]);
});

it("opens a group of errors by its signature", () => {
  expect(ids("v1:0a1b")).toEqual(["errors id", "filter"]);
  expect(go("v1:0a1b", "errors id")).toBe("/errors/v1%3A0a1b");
});

it("offers no place that there is not", () => {
  expect(ids("4711", { views: [view("errors")] })).toEqual(["filter"]);
});

it("offers the themes that are not shown", () => {
  expect(ids("theme", { theme: "dark" }).slice(0, 2)).toEqual(["theme light", "theme system"].sort().reverse());
  expect(offered("dark theme", known)[0]).toMatchObject({ theme: "dark" });
});
