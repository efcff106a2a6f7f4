// What is to be seen of the interface: each view's path on the invented shop (`npm run demo`), and what is done until it is as somebody sees it.
// What the shop has not (a cluster, a refusal, nobody's records) is answered for the gateway.

const seen = (text) => (page) => page.locator(text).first().waitFor();
const rows = seen("[data-id]");
const press = async (page, ...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};
const button = (page, name) => page.getByRole("button", { name }).first().click();
const opens = (name) => async (page) => {
  await rows(page);
  await button(page, name);
  await page.locator(".panel").waitFor();
};
const answers = (path, status, body) => (page) =>
  page.route(path, (route) => route.fulfill({ status, contentType: status < 400 ? "application/json" : "application/problem+json", body: JSON.stringify(body) }));
const refuses = (path, status, kind, title, detail, more = {}) => answers(path, status, { type: `urn:cordwood:problem:${kind}`, title, status, detail, ...more });
const all = (...befores) => async (page) => {
  for (const before of befores) await before(page);
};

const asked = "2026-11-21T06:00:00Z";
const ME = {
  ...{ name: "oidc:anna", knownBy: "oidc", groups: ["oidc:shop"], audit: false, tenants: ["acme"], namespaces: ["shop"] },
  more: "kubectl create rolebinding cordwood-logs --namespace NAMESPACE --clusterrole=cordwood-logs --user='oidc:anna'",
  administration: { agents: "none", levels: "none", clusterLevels: "none", retention: "none" },
};
const anna = answers("**/api/whoami", 200, ME);
const NOBODY = { items: [], complete: true };
const EMPTY = { from: asked, to: asked, binSeconds: 60, bins: [], records: 0, complete: true };
const silence = (page) => page.routeWebSocket(/logs\/stream/, () => {});
const nothing = all(answers("**/api/platform/logs?*", 200, NOBODY), answers("**/api/platform/logs/histogram?*", 200, EMPTY), answers("**/api/platform/logs/facets?*", 200, { facets: {}, records: 0, complete: true }), silence);

const agent = (node, more = {}) => ({
  ...{ node, pod: `cordwood-agent-${node}`, version: "0.1.0", startedAt: asked, reachable: true, files: 41, lagBytes: 0, lagSeconds: 0, heldBytes: 0, stalled: false },
  ...{ losses: 0, lostBytes: 0, lossReasons: [], rulesGeneration: 12 },
  ...more,
});
const CLUSTER = {
  ...{ askedAt: asked, rulesGeneration: 12 },
  items: [
    agent("worker-eu-1-a"),
    agent("worker-eu-1-b", { lagBytes: 48_300_000, lagSeconds: 930, minutesUntilLoss: 6.4, rulesGeneration: 11 }),
    agent("worker-eu-1-c", { losses: 3, lostBytes: 91_000, lastLossAt: asked, lossReasons: [{ reason: "rotated", losses: 3, bytes: 91_000 }] }),
    agent("worker-eu-1-d", { stalled: true, heldBytes: 7_340_032, lagBytes: 1_200_000, lagSeconds: 75 }),
    { node: "worker-us-1-a", pod: "cordwood-agent-9xk2v", reachable: false, reason: "nothing came from 10.1.4.7:9091 within 5 s" },
  ],
};

/** Path, what is done once the page is there, and what before it is asked for. */
export const PLACES = {
  logs: ["/", rows],
  "logs-values": ["/", async (page) => {
    await rows(page);
    if (!(await page.locator(".facets").count())) await button(page, "Values of fields");
    await page.locator(".facets li").first().waitFor();
  }],
  "logs-wrap": ["/?wrap=1", async (page) => {
    await rows(page);
    await page.keyboard.press("w");
  }],
  "logs-columns": ["/?cols=service,tenant,data.orderId", rows],
  "logs-paused": ["/", async (page) => {
    await rows(page);
    await press(page, "Space");
    await page.getByTestId("resume").filter({ hasText: "new" }).waitFor();
  }],
  "logs-mistake": ["/?q=service=checkout%20level>=wran", seen("[role=alert]")],
  "logs-complete": ["/", async (page) => {
    await rows(page);
    await page.locator("[data-editor].ready").waitFor();
    await press(page, "/");
    await page.keyboard.type("service=");
    await page.getByRole("option").first().waitFor();
  }],
  "logs-find": ["/", async (page) => {
    await rows(page);
    await press(page, "f");
    await page.getByRole("textbox", { name: "Find in view" }).fill("order");
  }],
  "logs-gap": ["/", seen(".gap"), (page) =>
    page.routeWebSocket(/logs\/stream/, (socket) => {
      const server = socket.connectToServer();
      server.onMessage((message) => {
        socket.send(message);
        const time = new Date().toISOString();
        if (JSON.parse(String(message)).type === "caughtUp") socket.send(JSON.stringify({ type: "gap", from: time, to: time, count: 1248, reason: "slow", cursor: "v1" }));
      });
    })],
  "logs-filtered": ["/?q=service=nobody", seen(".empty")],
  "logs-range": ["/?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", seen(".empty")],
  "logs-first": ["/", seen(".empty"), nothing],
  "logs-none": ["/", seen(".empty"), all(anna, nothing)],
  "logs-gone": ["/?record=1000000.0-0-0", async (page) => {
    await rows(page);
    await page.getByText("is gone, or not yours").first().waitFor();
  }],
  "logs-away": ["/", seen("[role=alert]"), refuses("**/api/platform/logs?*", 503, "database", "The database is away", "PostgreSQL refused: connection reset by peer. The page asks again by itself.")],
  range: ["/", opens(/^Range/)],
  saved: ["/", async (page) => {
    await opens("Saved searches")(page);
    const name = page.getByRole("textbox", { name: "Name of the search" });
    for (const text of ["payments that failed", "stock"]) {
      await name.fill(text);
      await press(page, "Enter");
    }
  }],
  columns: ["/", opens("Columns")],
  export: ["/", opens("Export")],
  detail: ["/?q=service=checkout%20level=error", async (page) => {
    await rows(page);
    await page.locator("[data-id]").last().click();
    await page.getByTestId("detail").locator(".stack").first().waitFor();
  }],
  context: ["/?q=service=checkout%20level=error", async (page) => {
    await rows(page);
    await press(page, "k", "c");
    await page.getByTestId("context").locator("[data-id]").first().waitFor();
  }],
  keys: ["/", async (page) => {
    await rows(page);
    await press(page, "?");
    await seen("dialog[open]")(page);
  }],
  palette: ["/", async (page) => {
    await rows(page);
    await press(page, "Control+k");
    await seen("dialog[open]")(page);
  }],
  "palette-typed": ["/", async (page) => {
    await rows(page);
    await press(page, "Control+k");
    await seen("dialog[open]")(page);
    await page.keyboard.type("checkout");
  }],
  errors: ["/errors", seen("li[data-signature]")],
  "errors-none": ["/errors?text=nothing+like+this", seen(".empty")],
  group: ["/errors?level=error", async (page) => {
    await page.locator("li[data-signature] .title a").first().click();
    await seen("li[data-id]")(page);
  }],
  "group-gone": ["/errors/v1:00000000deadbeef", seen(".empty")],
  task: ["/task/4711", rows],
  "task-id": ["/task", seen("main input")],
  "task-unknown": ["/task/4712", seen(".empty")],
  "task-which": ["/task/4711", seen(".which"), refuses("**/api/tasks/4711/**", 409, "task-in-two-namespaces", "Which task is meant?", "name one with namespace=, of bank, shop")],
  plugin: ["/plugin/hello-plugin", rows],
  "plugin-unknown": ["/plugin/nobody", seen(".empty")],
  monitor: ["/monitor", async (page) => {
    // Audit records are rare.
    for (const name of ["System", "Audit"]) await page.getByRole("region", { name }).locator("[data-id]").nth(2).waitFor({ timeout: 180_000 });
  }],
  "monitor-none": ["/monitor?system=service=nobody&audit=service=nobody", seen(".empty")],
  policies: ["/policies", seen("[data-policy], .card")],
  "policy-new": ["/policies?new=1", async (page) => {
    await page.getByLabel("Name", { exact: true }).fill("shop");
    await page.getByLabel("Services").fill("checkout, mail");
    await page.getByLabel("INFO, and lines").fill("2 days");
  }],
  "policy-delete": ["/policies", async (page) => {
    await page.getByRole("button", { name: "Delete shop" }).click();
    await page.getByRole("region", { name: "What it would do" }).waitFor();
  }],
  "policy-edit": ["/policies?edit=shop", async (page) => {
    await page.getByLabel("INFO, and lines").fill("3d");
    await page.getByText("2d → 3d").or(page.getByText("7d → 3d")).first().waitFor();
  }],
  "policies-refused": ["/policies", seen("pre"), all(anna, refuses("**/api/admin/retention*", 404, "no-right", "Nothing here", "there are no policies here that you may see"))],
  levels: ["/levels?service=checkout", async (page) => {
    await page.getByRole("button", { name: "Quiet checkout" }).waitFor();
    await page.locator("tr[data-rule]").getByText("In force").first().waitFor();
  }],
  "levels-refused": ["/levels", seen("pre"), all(anna, refuses("**/api/admin/levels*", 404, "no-right", "Nothing here", "there are no levels here that you may see"))],
  "levels-off": ["/levels", seen(".empty"), refuses("**/api/admin/levels", 404, "no-administration", "Nothing is administered here", "standalone needs --resources DIR")],
  agents: ["/agents", seen("main tbody tr")],
  "agents-cluster": ["/agents", seen("main tbody tr"), answers("**/api/admin/agents", 200, CLUSTER)],
  "agents-away": ["/agents", seen("[role=alert]"), refuses("**/api/admin/agents", 503, "operator-away", "The operator does not answer", "how the agents are cannot be found out for the moment")],
  whoami: ["/whoami", seen("dl")],
  "whoami-oidc": ["/whoami", seen("dl"), anna],
  token: ["/", seen("dialog[open]"), refuses(/^\w+:\/\/[^/]+\/api\//, 401, "who", "Who are you?", "give a token: Authorization: Bearer TOKEN")],
  nowhere: ["/nowhere", seen(".empty")],
};
