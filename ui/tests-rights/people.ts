// People of the identity provider in a browser, and the API server that grants them what they see.
import { inject } from "vitest";
import { type Page, type PageOptions, visit } from "../tests/harness.ts";

export const world = () => inject("world");

/** What the provider's own pages miss, and what a refusal leaves in the console. */
const USUAL = /fonts\.googleapis|ERR_|401|404/;

/** Through the provider's pages, as this person. */
export async function logIn(page: Page, name: string): Promise<void> {
  await page.getByPlaceholder("Enter any login").fill(name);
  await page.getByPlaceholder("and password").fill("x");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
}

type Session = Exclude<PageOptions["storageState"], string | undefined>;
const sessions = new Map<string, Session>();

/** A page of somebody who is logged in: once for all pages of a file. */
export async function pageOf(name: string, path: string, options: PageOptions = {}): Promise<Page> {
  const expected = options.expected ?? USUAL;
  const session = sessions.get(name);
  const page = await visit(path, { ignoreHTTPSErrors: true, ...options, expected, ...(session ? { storageState: session } : {}) });
  if (!session) {
    await logIn(page, name);
    await page.getByRole("navigation", { name: "Views" }).waitFor();
    sessions.set(name, await page.context().storageState());
  }
  return page;
}

/** Asks the API server as its administrator. */
export async function cluster(method: string, path: string, patch?: object): Promise<{ status: number; body: Record<string, never> & { items?: never[] } }> {
  const { apiServer, apiToken } = world();
  const answer = await fetch(apiServer + path, {
    method,
    headers: { authorization: `Bearer ${apiToken}`, ...(patch ? { "content-type": "application/merge-patch+json" } : {}) },
    ...(patch ? { body: JSON.stringify(patch) } : {}),
  });
  return { status: answer.status, body: await answer.json() };
}

export const binding = (namespace: string, name: string) => `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings/${name}`;
export const resources = (kind: string, namespace = "") => `/apis/cordwood.dev/v1alpha1/${namespace ? `namespaces/${namespace}/` : ""}${kind}`;

/** Everything that the page shows, and what its elements are called. */
export const text = (page: Page): Promise<string> => page.evaluate(() => document.body.innerHTML);
