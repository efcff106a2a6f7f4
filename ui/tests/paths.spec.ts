// The shortest path of each of those who use it, step by step as docs/ui.md writes it ("Shortest paths"): no step more, none less.
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { SUPPORT } from "./guarded.ts";
import { accessible, messages, records, standalone, stored, until, visit, write, type Page } from "./harness.ts";

let shop: Awaited<ReturnType<typeof standalone>>;
const guarded = inject("guarded");

const STACK = ["PaymentTimeout: no answer within 2000 ms", "    at charge (/app/src/provider.ts:88:13)", "    at handle (/app/node_modules/fastify/handle.js:143:18)"].join("\n");
const failed = (n: number) => ({ level: "error", msg: `payment for order ${4000 + n} failed`, err: { type: "PaymentTimeout", message: "no answer within 2000 ms", stack: STACK } });
const step = (n: number) => ({ level: n === 3 ? "error" : "info", source: "importer", taskId: "4711", msg: `step ${n} of 5`, metadata: { progress: n * 20 } });

beforeAll(async () => {
  shop = await standalone();
  await write(shop.folder, "shop", [...records("checkout", 40), ...records("checkout", 3, failed), ...records("mail", 10, (n) => ({ msg: `receipt ${n}` })), ...records("importer", 5, (n) => step(n + 1))]);
  await write(guarded.folder, "acme", records("checkout", 30, (n) => ({ msg: `order ${4000 + n} placed` })));
  await stored("", 58, shop.address);
});
afterAll(() => shop?.stop());

const at = () => ({ at: shop.address });
const view = (page: Page, name: string) => page.getByRole("navigation", { name: "Views" }).getByRole("link", { name });
const shown = (page: Page, text: string) => until(() => messages(page), (all) => all.includes(text), text);

it("at 3 a.m., what broke: Errors, the first group, Open around this", async () => {
  const page = await visit("/", at());
  await view(page, "Errors").click();
  await page.locator("li[data-signature] .title a").first().click();
  // What broke, where in one's own code, and how often.
  await page.getByRole("heading", { name: "PaymentTimeout" }).waitFor();
  await until(() => page.getByTestId("stack").locator(".own li").allInnerTexts(), (frames) => frames.join() === "at charge (/app/src/provider.ts:88:13)", "the stack");
  await page.getByRole("link", { name: "Open around this" }).click();
  await until(() => page.locator("[data-id].origin .text").allInnerTexts(), ([origin]) => origin === "payment for order 4002 failed", "the last of them, marked");
  await shown(page, "line 39");
});

it("at 3 a.m., by keys in the logs: a filter, up to the last record, its context", async () => {
  const page = await visit("/", at());
  await shown(page, "line 39");
  await page.keyboard.press("/");
  await page.keyboard.type("level=error service=checkout");
  await page.keyboard.press("Enter");
  await until(() => messages(page), (all) => all.length === 3 && all.every((text) => text.startsWith("payment")), "only failures");
  await page.locator("main").press("Escape");
  await page.keyboard.press("k");
  await page.keyboard.press("c");
  await shown(page, "line 39");
});

it("a developer, one task: Ctrl-K, its id, Enter; a level", async () => {
  const page = await visit("/", at());
  await view(page, "Logs").waitFor();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("4711");
  await page.getByRole("option", { selected: true }).filter({ hasText: "4711" }).waitFor();
  await page.keyboard.press("Enter");
  await shown(page, "step 5 of 5");
  await page.getByRole("group", { name: "Levels" }).getByRole("button", { name: "INFO" }).click();
  await until(() => messages(page), (all) => all.includes("step 3 of 5") && !all.includes("step 5 of 5"), "what failed");
});

it("a developer, one service: a click on the service; Space to read, Space to go on", async () => {
  const page = await visit("/", at());
  await page.getByTestId("facets").getByRole("button", { name: /^mail/ }).click();
  await until(() => messages(page), (all) => all.length === 10 && all.includes("receipt 9"));
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await page.keyboard.press("Space");
  await write(shop.folder, "shop", records("mail", 1, () => ({ msg: "receipt while somebody reads" })));
  await page.getByTestId("resume").filter({ hasText: "1 new" }).waitFor();
  expect(await messages(page)).not.toContain("receipt while somebody reads");
  await page.keyboard.press("Space");
  await shown(page, "receipt while somebody reads");
});

it("support, one tenant: the number of the order, the record, Link", async () => {
  const page = await visit("/", { at: guarded.address, expected: /401/, permissions: ["clipboard-read", "clipboard-write"] });
  // Once a tab, where the gateway knows people by tokens.
  await page.getByLabel("Token").fill(SUPPORT);
  await page.getByRole("button", { name: "Go on" }).click();
  await shown(page, "order 4029 placed");
  await page.keyboard.press("/");
  await page.keyboard.type("4007");
  await page.keyboard.press("Enter");
  await until(() => messages(page), (all) => all.length === 1 && all[0] === "order 4007 placed", "the order");
  await page.locator("[data-id]").click();
  await page.getByRole("button", { name: "Link", exact: true }).click();
  await page.getByText("The link").waitFor();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  // In the same tab, which has the token: the record, among its neighbours.
  await page.goto(link);
  await until(() => page.locator("[data-id].origin .text").allInnerTexts(), ([origin]) => origin === "order 4007 placed", "the record of the link");
});

it("an administrator, a loud service: Levels, Quiet, the button that says what it will do", async () => {
  const page = await visit("/", at());
  await view(page, "Levels").click();
  await page.getByRole("button", { name: "Quiet checkout" }).click();
  await page.getByRole("button", { name: "Hold checkout at WARN for 30 min" }).click();
  await page.locator('tr[data-rule="api-checkout-application"]').getByText("In force").waitFor();
});

it("an administrator, a retention: Policies, Change, the new time, Save", async () => {
  const body = { apiVersion: "cordwood.dev/v1alpha1", kind: "LogRetentionPolicy", metadata: { name: "default" }, spec: {} };
  const made = await fetch(`${shop.address}/api/admin/retention/default`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  expect(made.ok, await made.text()).toBe(true);
  const page = await visit("/", at());
  await view(page, "Policies").click();
  await page.getByRole("link", { name: "Change default" }).click();
  await page.getByLabel("INFO, and lines").fill("2d");
  await page.getByRole("region", { name: "What it would do" }).getByText("7d → 2d").first().waitFor();
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("default is saved").waitFor();
});

it("anybody, the same for a colleague: Copy a link, with the range written out", async () => {
  const page = await visit("/?q=service=checkout&from=-1h", { ...at(), permissions: ["clipboard-read", "clipboard-write"] });
  await shown(page, "line 39");
  await page.getByRole("button", { name: "Copy a link" }).click();
  await page.getByText("Copied: a link to").waitFor();
  const link = new URL(await page.evaluate(() => navigator.clipboard.readText()));
  const [from, to] = [link.searchParams.get("from")!, link.searchParams.get("to")!];
  expect(Date.parse(to) - Date.parse(from)).toBe(3600_000);
  // What comes later is not in it.
  await write(shop.folder, "shop", records("checkout", 1, () => ({ msg: "after the link" })));
  await shown(page, "after the link");
  const other = await visit(link.pathname + link.search, at());
  await shown(other, "line 39");
  expect(await messages(other)).not.toContain("after the link");
  await accessible(other);
});
