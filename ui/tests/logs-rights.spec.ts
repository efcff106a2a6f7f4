// Who must say who they are: a token is asked for and kept in its tab, opens the live stream by a ticket, and shows what it may and says what it may not.
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { messages, records, standalone, until, visit, write } from "./harness.ts";

let own: Awaited<ReturnType<typeof standalone>>;
let folder: string;
const ALL = "0123456789abcdef-all-of-it";
const OTHER = "0123456789abcdef-of-another";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cordwood-ui-tokens-"));
  const file = join(folder, "tokens.yaml");
  await writeFile(file, JSON.stringify({ tokens: [{ name: "anna", token: ALL, tenants: "all" }, { name: "bert", token: OTHER, tenants: ["another"] }] }));
  await chmod(file, 0o600);
  own = await standalone(["--tokens-file", file]);
  await write(own.folder, "rights", records("guarded", 10));
});
afterAll(async () => {
  await own?.stop();
  await rm(folder, { recursive: true, force: true });
});

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
  await page.getByText("whoever keeps the gateway's file of tokens can add to what this token sees").waitFor();
});
