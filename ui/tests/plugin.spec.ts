import { expect, it } from "vitest";
import { accessible, log, messages, stored, until, visit } from "./harness.ts";

const line = (plugin: string, n: number, more: object = {}) => ({
  time: new Date(Date.now() - 100_000 + n * 10).toISOString(),
  level: ["debug", "info", "warn", "error"][n % 4],
  service: "plugins",
  plugin,
  pid: 12345,
  msg: `line ${n}`,
  ...more,
});
/** So many lines, and two events of the supervisor. */
async function ran(plugin: string, count: number): Promise<void> {
  await log(plugin, [
    ...Array.from({ length: count }, (_, n) => line(plugin, n)),
    line(plugin, count, { level: "info", action: "spawn", msg: "Plugin spawned" }),
    line(plugin, count + 1, { level: "warn", action: "restart", msg: "Plugin restarted (attempt 1)" }),
  ]);
  await stored(`plugin=${plugin}`, count + 2);
}

it("shows a plugin's lines by pages with numbers, newest first", async () => {
  await ran("pages", 248);
  const page = await visit("/plugin/pages");
  const pages = page.getByRole("navigation", { name: "Pages" });
  await until(() => messages(page), (shown) => shown[0] === "Plugin restarted (attempt 1)", "the newest");
  await pages.getByRole("link", { name: "Page 2" }).click();
  await until(() => messages(page), (shown) => shown[0] === "line 149", "the second page");
  expect(new URL(page.url()).searchParams.get("page")).toBe("2");
  await pages.getByRole("link", { name: "Older" }).focus();
  await page.keyboard.press("Enter");
  await until(() => messages(page), (shown) => shown[0] === "line 49", "the third page");
  expect(await pages.getByRole("link", { name: "Older" }).count()).toBe(0);
  await page.goBack();
  await until(() => messages(page), (shown) => shown[0] === "line 149", "the second page again");
  await pages.getByRole("link", { name: "Newer" }).click();
  await until(() => messages(page), (shown) => shown[0] === "Plugin restarted (attempt 1)");
});

it("shows a level and above, and new lines when the newest are asked for", async () => {
  await ran("levels", 20);
  const page = await visit("/plugin/levels");
  await until(() => messages(page), (shown) => shown.length === 22);
  await page.getByLabel("Level").selectOption("ERROR");
  await until(() => messages(page), (shown) => shown.join() === "line 19,line 15,line 11,line 7,line 3");
  await log("levels", [line("levels", 9999, { level: "error", msg: "worse", time: new Date().toISOString() })]);
  await stored('plugin=levels "worse"', 1);
  await page.getByRole("button", { name: "Newest" }).click();
  await until(() => messages(page), (shown) => shown[0] === "worse");
});

it("shows what the supervisor did, and leads to it", async () => {
  await ran("events", 3);
  const page = await visit("/plugin/events");
  const events = page.locator("li[data-event]");
  await until(() => events.locator("strong").allInnerTexts(), (shown) => shown.join() === "restart,spawn");
  await events.first().getByRole("link").click();
  await until(() => page.url(), (at) => /\/\?at=\d+\./.test(at));
});

it("asks for an id, and says what a plugin without lines is", async () => {
  const page = await visit("/plugin");
  await page.getByLabel("Plugin id").fill("nobody/at all");
  await page.keyboard.press("Enter");
  await page.getByText("No plugin of this id has a line").waitFor();
  await page.getByRole("link", { name: "Another plugin" }).waitFor();
  await page.goto(`${new URL(page.url()).origin}/plugin/nobody?page=7`);
  await page.getByRole("link", { name: "Go to the first page" }).click();
  await page.getByText("No plugin of this id has a line").waitFor();
});

it.each(["light", "dark"] as const)("keeps the rules of accessibility in the %s theme", async (colorScheme) => {
  await ran(`plugin-${colorScheme}`, 120);
  const page = await visit(`/plugin/plugin-${colorScheme}?page=2`, { colorScheme });
  await until(() => messages(page), (shown) => shown.length > 5);
  await page.locator("li[data-event]").first().waitFor();
  await accessible(page);
});
