// Levels, policies and agents of a cluster, before a real API server: what an administrator changes is a resource there; who may not is told so.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { until, type Page } from "../tests/harness.ts";
import { cluster, pageOf, resources, text, world } from "./people.ts";

const views = (page: Page) => page.getByRole("navigation", { name: "Views" }).getByRole("link");
interface Resource {
  metadata: { name: string; resourceVersion: string };
  spec: { level: string; service?: string; duration?: string; expiresAt?: string; retention: Record<string, string> };
}
const listed = async (kind: string, namespace = "") => ((await cluster("GET", resources(kind, namespace))).body.items ?? []) as Resource[];

it("leads anyone who may administer to the views, and nobody else", async () => {
  const page = await pageOf("ada", "/");
  for (const name of ["Policies", "Levels", "Agents"]) await views(page).filter({ hasText: name }).waitFor();
  const other = await pageOf("anna", "/");
  await views(other).filter({ hasText: "Monitor" }).waitFor();
  await until(() => views(other).allInnerTexts(), (names) => !names.some((name) => /Policies|Levels|Agents/.test(name)), "the views to be gone");
  await other.keyboard.press("Control+k");
  await other.getByRole("combobox").fill("agents");
  await until(() => other.getByRole("option").allInnerTexts(), (offered) => offered.length > 0 && !offered.some((one) => /^Agents/.test(one)), "the palette offers none of them");
});

it.each([
  ["/levels", "--clusterrole=cordwood-levels"],
  ["/agents", "--resource=agents.cordwood.dev"],
  ["/policies", "--resource=logretentionpolicies.cordwood.dev"],
])("says at %s what it needs, to anyone who has no right", async (path, grants) => {
  const page = await pageOf("anna", path);
  await page.locator("pre").filter({ hasText: grants }).waitFor();
  await page.getByText("--user='oidc:anna'").first().waitFor();
  expect(await page.getByRole("form").count()).toBe(0);
  expect(await text(page)).not.toContain("node-1");
});

it("quiets a service of a namespace in two clicks: a resource of the API server", async () => {
  const page = await pageOf("ada", "/levels");
  await page.getByRole("button", { name: "Quiet ticker" }).click();
  await page.getByRole("button", { name: "Hold ticker at WARN for 30 min" }).click();
  await page.getByText("is saved").waitFor();
  const [made] = await listed("clusterloglevelconfigs");
  expect(made!.spec).toMatchObject({ level: "WARN", service: "ticker" });
  const row = page.locator(`tr[data-rule="${made!.metadata.name}"]`);
  await row.waitFor();
  await row.getByRole("button", { name: /^End/ }).click();
  await until(() => listed("clusterloglevelconfigs"), ({ length }) => length === 0, "its end");
  await page.goto(`${world().origin}/levels?service=ledger&namespace=bank`);
  await page.getByRole("button", { name: "Hold ledger at WARN for 30 min" }).click();
  const one = await until(() => listed("loglevelconfigs", "bank"), ({ length }) => length === 1);
  expect(one[0]!.spec).toMatchObject({ level: "WARN", service: "ledger" });
});

it("changes a retention after its preview, and not what another has changed meanwhile", async () => {
  await cluster("DELETE", `${resources("logretentionpolicies")}/kept`);
  const page = await pageOf("ada", "/policies?new=1", { expected: /409|404|ERR_/ });
  await page.getByLabel("Name", { exact: true }).fill("kept");
  await page.getByLabel("Services").fill("checkout");
  await page.getByRole("button", { name: "Create the policy" }).click();
  await page.getByText("kept is saved").or(page.getByText("kept is made")).first().waitFor();
  const kept = async () => (await listed("logretentionpolicies")).find(({ metadata }) => metadata.name === "kept")!;
  expect((await kept()).spec.retention.info).toBe("7d");
  await page.goto(`${world().origin}/policies?edit=kept`);
  const info = page.getByLabel("INFO, and lines");
  await info.fill("3d");
  await page.getByText("info 3d").first().waitFor();
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("kept is saved").waitFor();
  expect((await kept()).spec.retention.info).toBe("3d");
  // Another is faster.
  await page.goto(`${world().origin}/policies?edit=kept`);
  await page.getByText("Nothing is changed yet").waitFor();
  await cluster("PATCH", `${resources("logretentionpolicies")}/kept`, { spec: { retention: { info: "5d" } } });
  await page.getByLabel("DEBUG and TRACE").fill("2d");
  await page.getByText("It was changed").waitFor();
  expect(await page.getByRole("button", { name: "Save", exact: true }).isDisabled()).toBe(true);
  await page.getByRole("button", { name: "Begin again" }).click();
  await until(() => info.inputValue(), (value) => value === "5d", "what is there now");
  expect((await kept()).spec.retention).toMatchObject({ info: "5d", debug: "1d" });
});

it("shows the agents to whom it may", async () => {
  const page = await pageOf("ada", "/agents");
  await page.getByText("node-1").first().waitFor();
  await page.getByText("no route").waitFor();
});

const document = JSON.parse(await readFile(new URL("../../gateway/openapi.json", import.meta.url), "utf8")) as { paths: Record<string, Record<string, unknown>> };
/** Each that administers or tells of it, with what it would do. */
const ROUTES = Object.entries(document.paths)
  .filter(([path]) => path.startsWith("/api/admin/"))
  .flatMap(([path, methods]) => Object.keys(methods).filter((method) => ["get", "post", "put", "delete", "patch"].includes(method)).map((method) => [method.toUpperCase(), path] as const));
const BODIES: Record<string, object> = {
  levels: { apiVersion: "cordwood.dev/v1alpha1", kind: "ClusterLogLevelConfig", metadata: { name: "by-nobody" }, spec: { level: "ERROR", service: "by-nobody", duration: "1h" } },
  retention: { apiVersion: "cordwood.dev/v1alpha1", kind: "LogRetentionPolicy", metadata: { name: "by-nobody" }, spec: { match: { services: ["by-nobody"] } } },
};

/** What the gateway answers this page, which asks as itself. */
const asks = (page: Page, method: string, path: string) => {
  const body = method === "GET" || method === "DELETE" ? undefined : JSON.stringify(BODIES[path.split("/")[3]!]);
  return page.evaluate(
    async ({ method, path, body }) => {
      const answer = await fetch(path.replace("{name}", "by-nobody"), { method, headers: { "content-type": "application/json" }, ...(body ? { body } : {}) });
      const text = await answer.text();
      return { status: answer.status, items: text ? ((JSON.parse(text) as { items?: unknown[] }).items ?? null) : null };
    },
    { method, path, body },
  );
};
const made = async () => [...(await listed("clusterloglevelconfigs")), ...(await listed("logretentionpolicies"))].filter(({ metadata }) => metadata.name.includes("by-nobody"));

it("knows the routes that administer", () => {
  expect(ROUTES.length).toBeGreaterThan(10);
});

it.each(["anna", "vera"])("refuses %s each route that changes something, as if it were not there", async (name) => {
  const page = await pageOf(name, "/whoami");
  await page.getByText(`oidc:${name}`, { exact: true }).waitFor();
  for (const [method, path] of ROUTES.filter(([method]) => method !== "GET")) expect([method, path, (await asks(page, method, path)).status]).toEqual([method, path, 404]);
  expect(await made()).toEqual([]);
});

it("answers nobody who may not see it with a list, a resource or the agents", async () => {
  const page = await pageOf("anna", "/whoami");
  await page.getByText("oidc:anna", { exact: true }).waitFor();
  for (const [method, path] of ROUTES.filter(([method]) => method === "GET")) {
    const { status, items } = await asks(page, method, path);
    // A list is empty; what has a name, and the agents, are not there.
    expect([path, status, items]).toEqual(/agents|\{name\}/.test(path) ? [path, 404, null] : [path, 200, []]);
  }
});

it("shows anyone who may see and not change the views without what would change anything", async () => {
  const page = await pageOf("vera", "/levels");
  await page.getByText("You may see the levels, and not change them").waitFor();
  expect(await page.getByRole("form").count()).toBe(0);
  await page.goto(`${world().origin}/policies`);
  await page.getByText("What no policy matches").or(page.locator("[data-policy]")).first().waitFor();
  for (const name of [/^New policy/, /^Change/, /^Delete/, /^Write the default/]) expect(await page.getByRole("link", { name }).or(page.getByRole("button", { name })).count()).toBe(0);
  await page.goto(`${world().origin}/agents`);
  await page.getByText("node-1").first().waitFor();
});

const cut = async () => Number(/^cordwood_gateway_exports_cut_total (\d+)$/m.exec(await readFile(world().metrics, "utf8"))![1]);

it("ends an export that is given up at the gateway too", async () => {
  const before = await cut();
  const page = await pageOf("ada", "/?q=service=bulk&facets=0");
  await page.locator("[data-id]").first().waitFor();
  const line = await page.context().newCDPSession(page);
  await line.send("Network.enable");
  await line.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: 200_000, uploadThroughput: -1 });
  await page.getByRole("button", { name: "Export", exact: true }).click();
  await page.getByRole("button", { name: "JSON lines" }).click();
  await page.getByText(/B so far/).waitFor();
  expect(await cut()).toBe(before);
  await page.getByRole("button", { name: "Cancel" }).click();
  await until(cut, (now) => now === before + 1, "the gateway to end it");
});
