import { expect, it } from "vitest";
import { accessible, address, log, messages, records, until, visit, type Page } from "./harness.ts";

it("is served whole under a policy that lets nothing inline run", async () => {
  const answer = await fetch(`${address()}/`);
  expect(answer.headers.get("content-security-policy")).not.toContain("unsafe");
  const page = await visit("/?q=service=nobody");
  await page.getByRole("navigation", { name: "Views" }).waitFor();
});

it("shows a place that is none, and the way back", async () => {
  const page = await visit("/nowhere");
  await page.getByText("There is no such page").waitFor();
  await page.getByRole("link", { name: "Go to the logs" }).click();
  await until(() => page.url(), (url) => new URL(url).pathname === "/");
});

it("opens a view at its own address, and Back leaves it", async () => {
  const page = await visit("/whoami");
  await page.getByText("by being on this machine").waitFor();
  await page.getByRole("link", { name: "Logs" }).click();
  await page.getByRole("log").or(page.getByTestId("empty")).first().waitFor();
  await page.goBack();
  await page.getByText("by being on this machine").waitFor();
});

it("leaves a view whose parts are still on their way", async () => {
  let arrive = () => {};
  const held = new Promise<void>((resolve) => (arrive = resolve));
  let asked: Promise<unknown> = held;
  const before = async (page: Page) => {
    asked = page.waitForRequest(/\/assets\/editor-/);
    await page.route(/\/assets\/editor-/, async (route) => {
      await held;
      await route.continue();
    });
  };
  const page = await visit("/", { before });
  await asked;
  await page.getByRole("link", { name: "Levels" }).click();
  await until(() => page.url(), (url) => new URL(url).pathname === "/levels");
  await page.getByRole("heading").first().waitFor();
  const came = page.waitForResponse(/\/assets\/editor-/);
  arrive();
  await (await came).finished();
  // The same script, asked for once more: what waited for it first has it before.
  await page.evaluate(`import(${JSON.stringify((await came).url())}).then(() => new Promise((resolve) => setTimeout(resolve)))`);
});

it("shows a line that is written while somebody looks", async () => {
  await log("shell", records("shell", 20));
  const page = await visit("/?q=service=shell");
  await until(() => messages(page), (shown) => shown.includes("line 19"), "the last line");
  await log("shell", [{ time: new Date().toISOString(), level: "warn", service: "shell", msg: "here I am" }]);
  await until(() => messages(page), (shown) => shown.includes("here I am"), "the live line");
});

it.each(["light", "dark"] as const)("keeps the rules of accessibility in the %s theme", async (colorScheme) => {
  await log(`shell-${colorScheme}`, records(`shell-${colorScheme}`, 30, (n) => ({ level: ["trace", "debug", "info", "warn", "error"][n % 5]! })));
  const page = await visit(`/?q=service=shell-${colorScheme}`, { colorScheme });
  await until(() => messages(page), (shown) => shown.length > 5);
  await accessible(page);
  await page.goto(`${address()}/whoami`);
  await page.getByText("by being on this machine").waitFor();
  await accessible(page);
});
