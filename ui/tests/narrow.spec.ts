// A narrow screen: nothing is cut off, and a table whose rows are drawn as cards is still a table to a screen reader.
import { beforeAll, expect, it } from "vitest";
import { overflowing } from "../scripts/overflow.mjs";
import { address, log, records, stored, until, visit, type Page } from "./harness.ts";

const NARROW = { viewport: { width: 390, height: 844 } };
const put = async (path: string, body: object) => {
  const answer = await fetch(address() + path, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  expect(answer.ok, await answer.text()).toBe(true);
};
let group = "";
const LONG = "a-service-whose-name-somebody-made-much-too-long-for-a-telephone";

beforeAll(async () => {
  const failed = { level: "error", errorType: "NarrowAndQuiteLongNamedError", errorStack: "NarrowAndQuiteLongNamedError: no\n    at pay (/app/a/very/long/path/to/the/file/that/failed/pay.js:1:1)", msg: "payment refused" };
  await log("narrow", records(LONG, 30, (n) => ({ taskId: "narrow-task", source: ["plugin", "superset_api", "another-source"][n % 3]!, plugin: "narrow", metadata: { progress: n }, ...(n === 29 ? failed : {}) })));
  await stored(`service=${LONG}`, 30);
  const groups = async () => ((await (await fetch(`${address()}/api/platform/logs/aggregates?service=${LONG}`)).json()) as { items: { signature: string }[] }).items;
  group = (await until(groups, ({ length }) => length > 0, "the group of the error"))[0]!.signature;
  await put("/api/admin/levels", { target: LONG, level: "WARN", ttlSeconds: 3600, debugScopes: true });
  const spec = { match: { services: [LONG], namespaces: ["a-namespace-with-a-long-name", "another"] }, legalHold: true };
  await put("/api/admin/retention/narrow", { apiVersion: "cordwood.dev/v1alpha1", kind: "LogRetentionPolicy", metadata: { name: "narrow" }, spec });
});

const shows = (text: string | RegExp) => (page: Page) => page.getByText(text).first().waitFor();
const counted = async (page: Page) => {
  await page.locator("[data-id]").first().waitFor();
  await page.getByTestId("histogram").locator(".all").getByText("30 records").waitFor();
};
const opens = (name: string | RegExp) => async (page: Page) => {
  await counted(page);
  await page.getByRole("button", { name }).first().click();
  await page.locator(".panel").waitFor();
};
const presses = (key: string, shown: string) => async (page: Page) => {
  await counted(page);
  await page.keyboard.press(key);
  await page.locator(shown).first().waitFor();
};
const PLACES: Record<string, [string, (page: Page) => Promise<unknown>]> = {
  logs: [`/?q=service=${LONG}`, counted],
  range: [`/?q=service=${LONG}`, opens(/^Range/)],
  "saved searches": [`/?q=service=${LONG}`, opens("Saved searches")],
  columns: [`/?q=service=${LONG}`, opens("Columns")],
  export: [`/?q=service=${LONG}`, opens("Export")],
  keys: [`/?q=service=${LONG}`, presses("?", "dialog[open]")],
  commands: [`/?q=service=${LONG}`, presses("Control+k", "dialog[open] li")],
  "a mistake": [`/?q=service=${LONG}+level>=wran`, shows("is not a level")],
  nothing: [`/?q=service=${LONG}+nonsense`, shows("No record matches the filter")],
  errors: [`/errors?service=${LONG}`, shows("NarrowAndQuiteLongNamedError")],
  group: ["/errors/GROUP", shows("pay.js")],
  task: ["/task/narrow-task", shows("another-source")],
  plugin: ["/plugin/narrow", shows("payment refused")],
  monitor: ["/monitor", shows("live")],
  levels: ["/levels", (page) => page.locator("tr[data-rule]", { hasText: LONG }).waitFor()],
  policies: ["/policies", (page) => page.locator('[data-policy="narrow"] td').first().waitFor()],
  policy: ["/policies?edit=narrow", shows("Nothing is changed yet")],
  agents: ["/agents", shows("1 of 1")],
  me: ["/whoami", shows("by being on this machine")],
};

it.each(Object.keys(PLACES))("cuts nothing off in %s", async (name) => {
  const [path, ready] = PLACES[name]!;
  const page = await visit(path.replace("GROUP", group), { ...NARROW, expected: /400/ });
  await page.getByRole("navigation", { name: "Views" }).getByText("Agents").waitFor();
  await ready(page);
  expect(await page.evaluate(overflowing)).toEqual([]);
});

interface Told {
  nodeId: string;
  role?: { value: string };
  name?: { value: string };
  ignored: boolean;
  childIds?: string[];
}
/** The tables of the page as assistive technology is told of them: their heads, and how many cells each row has. */
async function tables(page: Page): Promise<{ heads: string[]; cells: number[] }[]> {
  const line = await page.context().newCDPSession(page);
  const { nodes } = (await line.send("Accessibility.getFullAXTree")) as { nodes: Told[] };
  const byId = new Map(nodes.map((node) => [node.nodeId, node]));
  const within = (node: Told, role: string): Told[] =>
    (node.childIds ?? []).flatMap((id) => {
      const child = byId.get(id);
      if (!child) return [];
      return !child.ignored && child.role?.value === role ? [child] : within(child, role);
    });
  return nodes
    .filter((node) => !node.ignored && node.role?.value === "table")
    .map((table) => {
      const rows = within(table, "row").map((row) => ({ heads: within(row, "columnheader"), cells: within(row, "cell") }));
      return { heads: rows.flatMap(({ heads }) => heads.map(({ name }) => name?.value ?? "")), cells: rows.map(({ cells }) => cells.length).filter((count) => count > 0) };
    });
}

it.each(["levels", "policies", "agents"])("is a table with its heads to a screen reader in %s", async (name) => {
  const [path, ready] = PLACES[name]!;
  const page = await visit(path, NARROW);
  await ready(page);
  const drawn = () =>
    page.evaluate(() =>
      [...document.querySelectorAll("table")].map((table) => ({
        heads: [...table.querySelectorAll("th")].map((head) => head.textContent!.trim()),
        cells: [...table.tBodies[0]!.rows].map((row) => row.cells.length),
      })),
    );
  // Rows of other tests come and go: both are of the same moment when they agree.
  const both = async () => ({ told: await tables(page), drawn: await drawn() });
  const { told } = await until(both, ({ told, drawn }) => told.length > 0 && JSON.stringify(told) === JSON.stringify(drawn), "what is told to be what is drawn");
  expect(told.every(({ heads, cells }) => heads.every((head) => head !== "") && cells.every((count) => count === heads.length))).toBe(true);
});
