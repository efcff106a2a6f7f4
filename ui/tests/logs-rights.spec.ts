// Who must say who they are: a token is asked for and kept in its tab, opens the live stream by a ticket, and shows what it may and says what it may not.
import { beforeAll, expect, inject, it } from "vitest";
import { ALL, OTHER } from "./guarded.ts";
import { messages, records, until, visit, write } from "./harness.ts";

const own = inject("guarded");
beforeAll(() => write(own.folder, "rights", records("guarded", 10)));

it("asks for a token, and follows live with it", async () => {
  const page = await visit("/?q=service=guarded", { at: own.address, expected: /401/ });
  await page.getByRole("dialog", { name: "Who are you?" }).waitFor();
  await page.getByLabel("Token").fill(ALL);
  await page.getByRole("button", { name: "Go on" }).click();
  await until(() => messages(page), (shown) => shown.includes("line 9"));
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await write(own.folder, "rights", [{ time: new Date().toISOString(), level: "info", service: "guarded", msg: "seen live" }]);
  await until(() => messages(page), (shown) => shown.includes("seen live"));
  expect(await page.evaluate(() => [localStorage.length >= 0, JSON.stringify(localStorage).includes("0123456789abcdef"), document.cookie])).toEqual([true, false, ""]);
});

it("23: says that there is nothing that one may see, and whom to ask", async () => {
  const page = await visit("/", { at: own.address, expected: /401/ });
  await page.getByLabel("Token").fill(OTHER);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByText("Nothing that you may see").waitFor();
  await page.getByText("the person who keeps the gateway's file of tokens can add to what this token sees").waitFor();
});
