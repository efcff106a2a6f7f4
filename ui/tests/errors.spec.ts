import { expect, it } from "vitest";
import { accessible, log, messages, stored, until, visit, type Page } from "./harness.ts";

const STACK = ["PaymentTimeout: no answer within 2000 ms", "    at connect (node:net:1100:9)", "    at charge (/app/src/provider.ts:88:13)", "    at handle (/app/node_modules/fastify/handle.js:143:18)"].join("\n");

const failed = (service: string, n: number) => ({
  time: new Date(Date.now() - 1000 + n).toISOString(),
  level: "error",
  service,
  msg: `payment for order ${4000 + n} failed`,
  err: { type: "PaymentTimeout", message: "no answer within 2000 ms", stack: STACK },
});
const slow = (service: string) => ({ time: new Date().toISOString(), level: "warn", service, msg: "provider is slow" });

/** Three failures of one kind and a warning, of a service of its own. */
async function broken(service: string): Promise<void> {
  await log(service, [failed(service, 1), failed(service, 2), failed(service, 3), slow(service)]);
  await stored(`service=${service}`, 4);
}

const titles = (page: Page) => page.locator("li[data-signature] .title a").allInnerTexts();

it("lists groups with their counts, tenants and services, and narrows them", async () => {
  await broken("groups-list");
  const page = await visit("/errors?service=groups-list");
  await until(() => titles(page), (shown) => shown.length === 2, "both groups");
  const row = page.locator("li[data-signature]").filter({ hasText: "PaymentTimeout" });
  expect(await row.locator(".count strong").innerText()).toBe("3");
  expect(await row.locator(".whose").innerText()).toMatch(/groups-list[\s\S]*local/);
  expect(await row.getByRole("img").getAttribute("aria-label")).toContain("3 records");

  await page.getByLabel("Level").selectOption("warn");
  await until(() => titles(page), (shown) => shown.length === 1 && shown[0] === "provider is slow");
  expect(page.url()).toContain("level=warn");
  await page.goBack();
  await until(() => titles(page), (shown) => shown.length === 2, "both after Back");

  await page.getByLabel("Order").selectOption("lastSeen");
  await until(() => titles(page), (shown) => shown[0] === "provider is slow", "the last seen first");
  await page.getByLabel("Text in the error").fill("paymenttimeout");
  await page.keyboard.press("Enter");
  await until(() => titles(page), (shown) => shown.length === 1 && shown[0] === "PaymentTimeout");
});

it("keeps itself up to now", async () => {
  await broken("groups-now");
  const page = await visit("/errors?service=groups-now&level=error");
  const count = page.locator("li[data-signature] .count strong");
  await until(() => count.allInnerTexts(), (shown) => shown.join() === "3");
  await log("groups-now", [failed("groups-now", 1)]);
  await until(() => count.allInnerTexts(), (shown) => shown.join() === "4", "the one that came");
});

it("shows only what is new since a time", async () => {
  await broken("groups-new");
  const page = await visit("/errors?service=groups-new");
  await until(() => titles(page), (shown) => shown.length === 2);
  await page.getByLabel("New since", { exact: true }).selectOption("-1h");
  await until(() => titles(page), (shown) => shown.length === 2, "both are new");
  await page.getByLabel("New since", { exact: true }).selectOption("time");
  const time = page.getByLabel("New since this time");
  await time.fill("soon");
  await time.press("Enter");
  await page.getByText("no time: try").waitFor();
  await time.fill("2030-01-01 00:00");
  await time.press("Enter");
  await page.getByText("No group is like this").waitFor();
  await page.getByRole("button", { name: "Show all groups" }).click();
  await until(() => titles(page), (shown) => shown.length >= 2, "everything");
});

it("opens a group by the keyboard, its own frames first, and leads on from there", async () => {
  await broken("groups-page");
  const page = await visit("/errors?service=groups-page&level=error");
  const link = page.locator("li[data-signature] .title a").first();
  await link.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "PaymentTimeout" }).waitFor();
  const stack = page.getByTestId("stack");
  await until(() => stack.locator(".own li").allInnerTexts(), (frames) => frames.join() === "at charge (/app/src/provider.ts:88:13)", "the stack, which comes behind the group");
  expect(await stack.locator("details li").first().isVisible()).toBe(false);
  await stack.getByText("2 frames of libraries").click();
  expect(await stack.locator("details li").first().innerText()).toContain("node:net");
  await stack.getByRole("button", { name: "As it was written" }).click();
  expect(await stack.locator(".frames").innerText()).toBe(STACK);

  await until(() => page.locator("li[data-id]").count(), (count) => count > 2, "the latest records");
  const signature = decodeURIComponent(new URL(page.url()).pathname.split("/")[2]!);
  expect(await page.getByRole("link", { name: "Quiet" }).first().getAttribute("href")).toMatch(/^\/levels\?service=/);
  expect(await page.getByRole("link", { name: "Open around this" }).getAttribute("href")).toMatch(/^\/\?at=\d+\./);
  await page.getByRole("link", { name: "Open in logs" }).click();
  await until(() => page.url(), (at) => new URL(at).searchParams.get("q") === `signature=${signature}`);
  await until(() => messages(page), (shown) => shown.some((text) => /payment for order 400\d failed/.test(text)), "its records");
  await page.goBack();
  await page.getByRole("link", { name: "All groups" }).click();
  await until(() => titles(page), (shown) => shown.length === 1, "the list as it was");
});

it("says that a group is not there", async () => {
  const page = await visit("/errors/v1:00000000deadbeef", { expected: /404/ });
  await page.getByText("There is no such group").waitFor();
});

it("takes nothing of an error for markup", async () => {
  const nasty = "<img src=x onerror=alert(1)>\u202egpj.exe \u001b[31mred\u001b[0m";
  await log("groups-nasty", [{ ...failed("groups-nasty", 1), msg: nasty, err: { type: "<b>Evil</b>", message: nasty, stack: `${nasty}\n    at <script>alert(1)</script> (/app/x.ts:1:1)` } }]);
  await stored("service=groups-nasty", 1);
  const page = await visit("/errors?service=groups-nasty");
  await until(() => titles(page), (shown) => shown.length === 1);
  expect(await page.locator("main img[src], main b, main script").count()).toBe(0);
  await page.locator("li[data-signature] .title a").click();
  await page.getByTestId("stack").waitFor();
  expect(await page.locator("main img[src], main b, main script").count()).toBe(0);
});

it.each(["light", "dark"] as const)("keeps the rules of accessibility in the %s theme", async (colorScheme) => {
  await broken(`groups-${colorScheme}`);
  const page = await visit(`/errors?service=groups-${colorScheme}`, { colorScheme });
  await until(() => titles(page), (shown) => shown.length === 2);
  await accessible(page);
  await page.locator("li[data-signature] .title a").first().click();
  await page.locator("li[data-id]").first().waitFor();
  await accessible(page);
});
