import { expect, it } from "vitest";
import { until, visit, type Page } from "./harness.ts";

const background = (page: Page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const LIGHT = "rgb(251, 251, 250)";
const DARK = "rgb(15, 16, 17)";

it("shows the theme that was chosen, in this tab and others, until the system's is chosen again", async () => {
  const page = await visit("/whoami", { colorScheme: "light" });
  const other = await page.context().newPage();
  await other.goto(page.url());
  await page.getByText("Dark", { exact: true }).click();
  for (const one of [page, other]) await until(() => background(one), (colour) => colour === DARK, "dark");
  await page.getByText("As the system", { exact: true }).click();
  for (const one of [page, other]) await until(() => background(one), (colour) => colour === LIGHT, "light");
});

it("is turned on by a button beside the views, and by the palette", async () => {
  const page = await visit("/whoami", { colorScheme: "dark" });
  const button = page.getByRole("button", { name: /^Theme/ });
  await button.click();
  await until(async () => [await button.getAttribute("aria-label"), await background(page)], (is) => is.join() === `Theme: light,${LIGHT}`, "light");
  await page.keyboard.press("Control+k");
  await page.keyboard.type("dark theme");
  await page.getByRole("option", { selected: true }).filter({ hasText: "Dark theme" }).waitFor();
  await page.keyboard.press("Enter");
  await until(() => background(page), (colour) => colour === DARK);
});

it("shows nothing in the other theme first: the colours are there before the interface's own script", async () => {
  const page = await visit("/whoami", { colorScheme: "light" });
  await page.getByText("Dark", { exact: true }).click();
  await until(() => background(page), (colour) => colour === DARK);
  let go = () => {};
  const wait = new Promise<void>((resolve) => (go = resolve));
  await page.route(/assets\/index-[^/]*\.js/, async (route) => {
    await wait;
    await route.continue();
  });
  await page.reload({ waitUntil: "commit" });
  await page.locator("#app").waitFor({ state: "attached" });
  await until(() => background(page), (colour) => colour !== "rgba(0, 0, 0, 0)", "the style sheet");
  expect([await background(page), await page.locator("nav").count()]).toEqual([DARK, 0]);
  go();
  await page.getByRole("navigation", { name: "Views" }).waitFor();
});
