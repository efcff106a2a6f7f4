// A refusal of the API (RFC 9457, application/problem+json), as the one kind of error that views show.
import type { components } from "./schema";

export type ProblemBody = components["schemas"]["Problem"];

export class Problem extends Error {
  readonly body: ProblemBody;
  /** Seconds after which it is worth asking again, where the answer says so. */
  readonly retryAfter: number | null;

  constructor(body: ProblemBody, retryAfter: number | null = null) {
    super(body.detail);
    this.name = "Problem";
    this.body = body;
    this.retryAfter = retryAfter;
  }

  get status(): number {
    return this.body.status;
  }
  /** Nobody answered, or the gateway could not for the moment: another time it may. */
  get passes(): boolean {
    return this.status === 0 || this.status === 429 || (this.status >= 502 && this.status <= 504);
  }
  get title(): string {
    return this.body.title;
  }
  /** A sentence; one that begins with the name of a parameter begins as it is written. */
  get detail(): string {
    const { detail, parameter } = this.body;
    return parameter && detail.startsWith(`${parameter} `) ? detail : detail.replace(/^[a-z]+(?=[ ,])/, (word) => word[0]!.toUpperCase() + word.slice(1));
  }
  /** `urn:cordwood:problem:<kind>` without what is always the same. */
  get kind(): string {
    return this.body.type.replace(/^urn:cordwood:problem:/, "");
  }
  /** Characters of the filter before the mistake. */
  get position(): number | null {
    return this.body.position ?? null;
  }
}

/** No answer came at all. */
export function unreachable(cause: unknown): Problem {
  const detail = "The gateway does not answer.";
  const problem = new Problem({ type: "urn:cordwood:problem:unreachable", title: "No connection", status: 0, detail });
  problem.cause = cause;
  return problem;
}

/** What an answer that is no success says. A proxy in between may say it in HTML. */
export function problemOf(status: number, body: unknown, retryAfter: string | null): Problem {
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  const retry = Number.isFinite(seconds) ? seconds : null;
  if (typeof body === "object" && body !== null && "detail" in body && "title" in body && "type" in body) {
    return new Problem(body as ProblemBody, retry);
  }
  const title = status >= 500 ? "The gateway failed" : "Refused";
  return new Problem({ type: "about:blank", title, status, detail: `The answer was ${status}.` }, retry);
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : unreachable(error);
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
