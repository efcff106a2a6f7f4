// What people see in the browser, by what the API server grants them: no more on any view, and the page says what to do for more.
import { expect, it } from "vitest";
import { accessible, messages, until, visit, type Page } from "../tests/harness.ts";
import { binding, cluster, logIn, pageOf, text, world } from "./people.ts";

/** Of namespaces other than the one that anna sees. */
const OTHERS = /bank-|lab-|ledger|centrifuge|umbrella/;
const hasMessage = (page: Page, wanted: string) => until(() => messages(page), (shown) => shown.includes(wanted), wanted);

async function showsShopAlone(page: Page): Promise<void> {
  expect(await text(page)).not.toMatch(OTHERS);
}

it("logs in at the provider, comes back to where one was, and logs out", async () => {
  const page = await visit("/errors?service=checkout&sort=lastSeen", { ignoreHTTPSErrors: true, expected: /./ });
  await logIn(page, "anna");
  await page.getByText("shop-error").first().waitFor();
  expect(page.url()).toBe(`${world().origin}/errors?service=checkout&sort=lastSeen`);
  await page.getByRole("link", { name: "Me", exact: true }).click();
  await page.getByText("oidc:anna", { exact: true }).waitFor();
  await page.getByText("by the identity provider").waitFor();
  await page.getByText("tenants: all").or(page.getByText("tenants: none")).waitFor();
  expect(await page.locator("dl").innerText()).toMatch(/namespaces: shop[^]*kubectl create .*--user='oidc:anna'/);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByText("You are logged out").waitFor();
  await until(() => page.context().cookies(world().origin), (cookies) => cookies.every(({ name }) => !/^__Host-cordwood-\d/.test(name)), "the session to be gone");
});

it("shows somebody of one namespace its lines, values, counts and completions, and no other's", async () => {
  const page = await pageOf("anna", "/");
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await until(() => messages(page), (shown) => shown.some((one) => one.startsWith("shop-tick")), "what comes live");
  await page.locator(".facets").getByText("checkout").first().waitFor();
  await showsShopAlone(page);
  const filter = page.getByRole("textbox", { name: "Filter" });
  for (const [typed, offered] of [["service=", "checkout"], ["namespace=", "shop"]] as const) {
    await filter.click();
    await page.keyboard.press("Control+A");
    await page.keyboard.type(typed);
    await page.getByRole("option", { name: offered }).waitFor();
    await showsShopAlone(page);
    await page.keyboard.press("Escape");
  }
});

it("shows it on the other views too", async () => {
  const page = await pageOf("anna", "/errors");
  await page.getByText("shop-error").first().waitFor();
  await showsShopAlone(page);
  await page.goto(`${world().origin}/task/4711`);
  await hasMessage(page, "shop-step of 4711");
  await showsShopAlone(page);
  await page.goto(`${world().origin}/task/bank-task`);
  await page.getByText("No task of this id has a line that you may see").waitFor();
  await page.goto(`${world().origin}/plugin/shop-plugin`);
  await page.getByText("shop-line 19").first().waitFor();
  await page.goto(`${world().origin}/plugin/bank-plugin`);
  await page.getByTestId("empty").or(page.getByText("Nothing")).first().waitFor();
  expect((await text(page)).replaceAll("bank-plugin", "")).not.toMatch(OTHERS);
});

it("says the same of another's record as of one that is gone", async () => {
  const all = await pageOf("ada", "/?q=bank-line");
  await hasMessage(all, "bank-line 7");
  const id = await all.locator("[data-id]", { hasText: "bank-line 7" }).getAttribute("data-id");
  const page = await pageOf("anna", `/?at=${id}&record=${id}`);
  await page.getByText("This record is gone, or not yours to see").waitFor();
  await showsShopAlone(page);
});

it("asks in which namespace a task is that two have", async () => {
  const page = await pageOf("carl", "/task/4711", { expected: /fonts\.googleapis|ERR_|401|409/ });
  await page.getByRole("alert").filter({ hasText: "namespace" }).waitFor();
  const choice = page.getByRole("group", { name: "Namespace" });
  await choice.getByRole("button", { name: "bank" }).click();
  await hasMessage(page, "bank-step of 4711");
  expect(await messages(page)).not.toContain("shop-step of 4711");
  expect(new URL(page.url()).searchParams.get("namespace")).toBe("bank");
  await page.goBack();
  await choice.getByRole("button", { name: "shop" }).click();
  await hasMessage(page, "shop-step of 4711");
});

it("says who may see no audit records what would show them, and shows them to whom it may", async () => {
  const page = await pageOf("anna", "/monitor");
  const panel = page.getByRole("region", { name: "Audit" });
  await panel.getByText("You may see no audit records").waitFor();
  expect(await page.getByRole("region", { name: "System" }).innerText()).not.toMatch(OTHERS);
  await until(() => page.getByRole("region", { name: "System" }).locator(".message").allInnerTexts(), (shown) => shown.some((one) => one.startsWith("shop-tick")), "what comes");
  await showsShopAlone(page);
  await page.goto(`${world().origin}/?q=action=login`);
  await page.getByText("No record matches the filter").waitFor();
  const auditor = await pageOf("ada", "/?q=action=login");
  await hasMessage(auditor, "bank-audit");
});

it("tells somebody who may see nothing how that changes, on every view", async () => {
  const page = await pageOf("nils", "/");
  await page.getByText("Nothing that you may see").waitFor();
  await page.getByText("--user='oidc:nils'").first().waitFor();
  for (const path of ["/errors", "/monitor", "/task/4711", "/plugin/shop-plugin", "/levels", "/agents", "/policies"]) {
    await page.goto(world().origin + path);
    await page.getByRole("heading").first().waitFor();
    await page.waitForLoadState("networkidle");
    expect(await text(page)).not.toMatch(/shop-(line|step|error|tick)|bank-(line|step|error|tick)|checkout|ledger/);
  }
});

const nina = { bank: binding("bank", "nina-logs"), shop: binding("shop", "nina-logs") };

it("ends a live view when a right is taken away, says so, and shows nothing more of it", async () => {
  const page = await pageOf("nina", "/");
  const monitor = await pageOf("nina", "/monitor");
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  for (const one of [page, monitor]) await until(() => text(one), (shown) => /bank-tick/.test(shown) && /shop-tick/.test(shown), "lines of both");
  expect((await cluster("DELETE", nina.bank)).status).toBe(200);
  for (const one of [page, monitor]) {
    await one.getByText("What you may see has changed").first().waitFor();
    await until(() => text(one), (shown) => !shown.includes("bank-tick"), "nothing of the other namespace to be left");
    await one.getByText("live", { exact: true }).or(one.getByTestId("live").filter({ hasText: "Live" })).first().waitFor();
  }
  const newest = async (one: Page) => (await text(one)).match(/shop-tick \d+/g)?.sort().at(-1);
  for (const one of [page, monitor]) {
    const before = await newest(one);
    await until(() => newest(one), (now) => now !== undefined && now !== before, "what is still granted to go on");
    expect(await text(one)).not.toContain("bank-tick");
  }
  expect((await cluster("DELETE", nina.shop)).status).toBe(200);
  await page.getByText("Nothing that you may see").waitFor();
  expect(await text(page)).not.toMatch(/(shop|bank)-(tick|line)/);
});

it("takes a service account's token, and says where its rights end", async () => {
  const page = await pageOf("nils", "/whoami");
  await page.evaluate((token) => sessionStorage.setItem("cordwood.token", token), world().reader);
  await page.goto(`${world().origin}/?q=${encodeURIComponent("service=checkout")}`);
  await hasMessage(page, "shop-line 19");
  await page.goto(`${world().origin}/`);
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await until(() => messages(page), (shown) => shown.some((one) => one.startsWith("shop-tick")), "what comes live, by a ticket");
  await showsShopAlone(page);
  await page.goto(`${world().origin}/whoami`);
  await page.getByText("system:serviceaccount:people:reader").first().waitFor();
  await page.getByText("by the cluster's API server").waitFor();
  expect(await page.locator("dl").innerText()).toMatch(/kubectl create .*--serviceaccount='people:reader'/);
});

it("asks again when a token is over while somebody looks, and leaves what is shown", async () => {
  const page = await pageOf("nils", "/whoami");
  await page.evaluate((token) => sessionStorage.setItem("cordwood.token", token), world().soon);
  await page.goto(`${world().origin}/?q=service=checkout`);
  await page.getByRole("dialog", { name: "Who are you?" }).waitFor();
  await page.getByLabel("Token").fill(world().reader);
  await page.getByRole("button", { name: "Go on" }).click();
  await hasMessage(page, "shop-line 19");
});

it("says that a session is over, leaves what is shown, and comes back there by the provider", async () => {
  const page = await pageOf("anna", "/?q=service=checkout");
  await hasMessage(page, "shop-line 19");
  await page.context().clearCookies({ domain: new URL(world().origin).host });
  await page.getByText("Your session is over").waitFor();
  expect(await messages(page)).toContain("shop-line 19");
  await accessible(page);
  await page.getByRole("link", { name: "Log in again" }).click();
  await hasMessage(page, "shop-line 19");
  expect(page.url()).toBe(`${world().origin}/?q=service=checkout`);
  await page.getByText("Your session is over").waitFor({ state: "detached" });
});
