import { expect, it } from "vitest";
import { accessible, until, visit, type Page } from "./harness.ts";

const asked = "2026-11-21T06:00:00Z";
const agent = (node: string, more: object = {}) => ({
  ...{ node, pod: `cordwood-agent-${node}`, version: "0.1.0", startedAt: asked, reachable: true, files: 41, lagBytes: 0, lagSeconds: 0, heldBytes: 0, stalled: false },
  ...{ losses: 0, lostBytes: 0, lossReasons: [], rulesGeneration: 12 },
  ...more,
});
const CLUSTER = {
  askedAt: asked,
  rulesGeneration: 12,
  items: [
    agent("node-a"),
    agent("node-b", { lagBytes: 48_300_000, lagSeconds: 930, minutesUntilLoss: 6.4, rulesGeneration: 11 }),
    agent("node-c", { losses: 3, lostBytes: 91_000, lastLossAt: asked, lossReasons: [{ reason: "rotated", losses: 3, bytes: 91_000 }] }),
    { node: "node-d", pod: "cordwood-agent-node-d", reachable: false, reason: "nothing came from 10.1.4.7" },
  ],
};

/** The view with answers of the test's own making: what it gives last is what is answered. */
async function cluster(page: Page, answer: { status: number; body: object; type?: string }): Promise<typeof answer> {
  await page.route("**/api/admin/agents", (route) =>
    route.fulfill({ status: answer.status, contentType: answer.status < 400 ? "application/json" : "application/problem+json", body: JSON.stringify(answer.body) }),
  );
  await page.getByRole("link", { name: "Agents" }).click();
  return answer;
}
const refusal = (status: number, kind: string, detail: string) => ({ status, body: { type: `urn:cordwood:problem:${kind}`, title: "No agents to be seen", status, detail } });
const nodes = (page: Page) => page.locator("tr[data-node] strong").allInnerTexts();

it("shows the agent of standalone, whose answer is a real one", async () => {
  const page = await visit("/agents");
  const row = page.locator("tr[data-node]");
  // How far behind it is depends on what other tests write.
  await row.locator(".state").filter({ hasText: /^(Keeps up|Behind|Far behind)$/ }).waitFor();
  await page.getByText("1 of 1").first().waitFor();
  expect(await row.innerText()).toMatch(/\d+ files?/);
});

it("puts who does not answer first, then who loses lines soon, and says how each is", async () => {
  const page = await visit("/whoami");
  await cluster(page, { status: 200, body: CLUSTER });
  await page.getByText("3 of 4").waitFor();
  expect(await nodes(page)).toEqual(["node-d", "node-b", "node-a", "node-c"]);
  const said = async (node: string) => (await page.locator(`tr[data-node="${node}"]`).innerText()).replace(/\s+/g, " ");
  expect(await said("node-d")).toContain("nothing came from 10.1.4.7");
  expect(await said("node-b")).toMatch(/48\.3 MB .*15 min 6 min .*11 should be 12/);
  expect(await said("node-c")).toMatch(/3 losses, 91\.0 KB .*rotated: 3/);
});

it("asks again by itself, and keeps what was known while the operator is away", async () => {
  const page = await visit("/whoami", { expected: /503/ });
  const answer = await cluster(page, { status: 200, body: CLUSTER });
  await until(() => nodes(page), ({ length }) => length === 4);
  Object.assign(answer, { body: { ...CLUSTER, items: [...CLUSTER.items, agent("node-e")] } });
  await until(() => nodes(page), (shown) => shown.includes("node-e"), "the new node");
  Object.assign(answer, refusal(503, "operator-away", "how the agents are cannot be found out for the moment"));
  await page.getByText("cannot be found out for the moment").waitFor();
  await page.getByText("Below is what was known last").waitFor();
  expect(await nodes(page)).toHaveLength(5);
});

it("says how to get the right where there is none, and shows nobody", async () => {
  const page = await visit("/whoami", { expected: /404/ });
  await cluster(page, refusal(404, "no-agents", "there are no agents here that you may see"));
  await page.getByText("--verb=get --resource=agents.cordwood.dev").waitFor();
  expect(await nodes(page)).toEqual([]);
});

it("finds a node among many, and a link shows the same", async () => {
  const page = await visit("/agents", { expected: /./ });
  await cluster(page, { status: 200, body: { ...CLUSTER, items: Array.from({ length: 200 }, (_, n) => agent(`node-${n}`)) } });
  await page.getByLabel("Only nodes or pods").fill("node-17");
  await until(() => nodes(page), ({ length }) => length === 11);
  expect(page.url()).toContain("node=node-17");
});

it.each([
  ["light", 1440],
  ["dark", 390],
] as const)("keeps the rules of accessibility in the %s theme, %i pixels wide", async (colorScheme, width) => {
  const page = await visit("/whoami", { colorScheme, viewport: { width, height: 900 } });
  await cluster(page, { status: 200, body: CLUSTER });
  await page.getByText("3 of 4").waitFor();
  await accessible(page);
  expect(await page.evaluate(() => document.querySelector("main")!.scrollWidth <= innerWidth)).toBe(true);
});
