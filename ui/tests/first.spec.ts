// The first moments of the page: what is large comes behind the records, and nothing that somebody does meanwhile is lost.
import { expect, it } from "vitest";
import { log, messages, records, stored, until, visit } from "./harness.ts";

it("takes over what was typed before the editor of the filter came, with its caret", async () => {
  await log("first", records("first-one", 3));
  await stored("service=first-one", 3);
  let go = () => {};
  const wait = new Promise<void>((resolve) => (go = resolve));
  const page = await visit("/?q=service=nobody-first", {
    before: (page) =>
      page.route(/assets\/editor-[^/]*\.js/, async (route) => {
        await wait;
        await route.continue();
      }),
  });
  const filter = page.getByRole("textbox", { name: "Filter" });
  await filter.click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("servce=first-one");
  for (let n = 0; n < "ce=first-one".length; n++) await page.keyboard.press("ArrowLeft");
  go();
  await page.locator("[data-editor].ready").waitFor();
  await page.keyboard.type("i");
  expect(await filter.innerText()).toBe("service=first-one");
  await page.keyboard.press("Escape");
  await filter.click();
  await page.keyboard.press("Enter");
  await until(() => messages(page), (shown) => shown.includes("line 2"), "the records of what was typed");
});

it("asks for all of the first view at once", async () => {
  const page = await visit("/");
  await page.getByRole("navigation", { name: "Views" }).waitFor();
  const named = await page.locator("head link[rel=modulepreload], head link[rel=stylesheet]").evaluateAll((links) => links.map((link) => (link as HTMLLinkElement).href));
  expect(named.filter((href) => /assets\/Logs-[^/]*\.(js|css)$/.test(href))).toHaveLength(2);
  const html = await (await fetch(page.url())).text();
  for (const href of named.filter((name) => /assets\/Logs-/.test(name))) expect(html).toContain(new URL(href).pathname);
});
