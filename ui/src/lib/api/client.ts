// The API, typed by the gateway's OpenAPI document. `schema.d.ts` is generated: `npm run generate`.
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";
import { problemOf, unreachable, isAbort, Problem } from "./problem";
import { access } from "./access.svelte";

export type Schemas = components["schemas"];
export type LogRecord = Schemas["Record"];

const guarded: Middleware = {
  onRequest({ request }) {
    const token = access.token;
    if (token) request.headers.set("authorization", `Bearer ${token}`);
    return request;
  },
};

export const api = createClient<paths>({ baseUrl: "" });
api.use(guarded);

/** The JSON of an answer, of which a route may have other forms too; a refusal is thrown as a `Problem`. */
export async function ask<T>(asked: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<Exclude<T, string>> {
  let answer;
  try {
    answer = await asked;
  } catch (error) {
    throw isAbort(error) ? error : unreachable(error);
  }
  const { data, error, response } = answer;
  if (response.ok) {
    access.answered();
    return data as Exclude<T, string>;
  }
  const problem = problemOf(response.status, error, response.headers.get("retry-after"));
  if (response.status === 401) access.refused(problem);
  throw problem;
}

/** For what the typed client cannot do (exports are read as they come): the same token, the same errors. */
export async function fetchRaw(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (access.token) headers.set("authorization", `Bearer ${access.token}`);
  let response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (error) {
    throw isAbort(error) ? error : unreachable(error);
  }
  if (response.ok) {
    access.answered();
    return response;
  }
  const body: unknown = await response.json().catch(() => null);
  const problem = problemOf(response.status, body, response.headers.get("retry-after"));
  if (response.status === 401) access.refused(problem);
  throw problem;
}

export { Problem };
