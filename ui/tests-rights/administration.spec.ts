// Levels, policies and agents of a cluster, before a real API server: what an administrator changes is a resource there; who may not is told so.
import { expect, it } from "vitest";
import { until, type Page } from "../tests/harness.ts";
import { cluster, pageOf, resources, text, world } from "./people.ts";

const views = (page: Page) => page.getByRole("navigation", { name: "Views" }).getByRole("link");
interface Resource {
  metadata: { name: string; resourceVersion: string };
  spec: { level: string; service?: string; duration?: string; expiresAt?: string; retention: Record<string, string> };
}
const listed = async (kind: string, namespace = "") => ((await cluster("GET", resources(kind, namespace))).body.items ?? []) as Resource[];

it("leads whoever may administer to the views, and nobody else", async () => {
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
])("says at %s what it needs, to whoever has no right", async (path, grants) => {
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
  await page.getByRole("button", { name: "Make the policy" }).click();
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
