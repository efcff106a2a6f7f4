import { expect, it } from "vitest";
import { accessible, log, messages, records, stored, until, visit, type Page } from "./harness.ts";

const input = (page: Page) => page.getByRole("combobox", { name: "A view, a search" });
async function open(page: Page, keys = "Control+k"): Promise<void> {
  // What one may see is known once these are offered.
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Agents" }).waitFor();
  await page.keyboard.press(keys);
  await input(page).waitFor();
}

it("goes to a view by a few letters, and Back leaves it", async () => {
  const page = await visit("/whoami");
  await open(page);
  await page.keyboard.type("agen");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Agents" }).waitFor();
  await page.goBack();
  await page.getByText("by being on this machine").waitFor();
});

it("fills in the level of a service, and searches for what is typed", async () => {
  const page = await visit("/whoami");
  await open(page, "Meta+k");
  await input(page).fill("palette-mail");
  await page.getByRole("option", { name: "Level of the service" }).click();
  await until(() => page.getByRole("form").getByLabel("Service").inputValue(), (value) => value === "palette-mail");
  await open(page);
  await input(page).fill("service=palette-nobody");
  await page.keyboard.press("Enter");
  await until(() => new URL(page.url()).searchParams.get("q"), (q) => q === "service=palette-nobody", "the search");
});

it("shows what a service writes", async () => {
  await log("palette", records("palette-shop", 2));
  await stored("service=palette-shop", 2);
  const page = await visit("/whoami");
  await open(page);
  await input(page).fill("palette-shop");
  await page.getByRole("option", { name: "Logs of the service" }).click();
  await until(() => messages(page), (shown) => shown.includes("line 1"), "its records");
});

it("shows times in UTC and back", async () => {
  const page = await visit("/policies");
  for (const zone of ["utc", "local"]) {
    await open(page);
    await page.keyboard.type(zone);
    await page.keyboard.press("Enter");
    await until(() => page.url(), (url) => url.endsWith(`tz=${zone}`), zone);
  }
});

it("opens over a field, moves by arrows past both ends, and gives the keys back when it closes", async () => {
  const page = await visit("/levels");
  const field = page.getByRole("form").getByLabel("Service");
  await field.focus();
  await open(page);
  const selected = () => page.getByRole("option", { selected: true }).innerText();
  const first = await selected();
  await page.keyboard.press("ArrowUp");
  await until(selected, (text) => text.includes("UTC"), "the last one");
  await page.keyboard.press("ArrowDown");
  await until(selected, (text) => text === first, "the first one");
  await page.keyboard.press("Escape");
  await until(() => input(page).count(), (count) => count === 0);
  expect(await field.evaluate((node) => node === document.activeElement)).toBe(true);
  await page.keyboard.type("mail");
  expect(await field.inputValue()).toBe("mail");
});

it.each(["light", "dark"] as const)("keeps the rules of accessibility in the %s theme", async (colorScheme) => {
  const page = await visit("/whoami", { colorScheme });
  await page.getByText("by being on this machine").waitFor();
  await open(page);
  await accessible(page);
});
