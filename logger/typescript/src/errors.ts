// Errors to fields: type, code, stack and the chain of causes. Reading an error never throws, and a chain that leads back to itself ends.

export const CAUSES_MAX = 10;

/** What an error says of itself, each part read with care: any of them may be a getter of the application's. */
export interface ErrorParts {
  type: string;
  message: string;
  code?: string;
  stack?: string;
}

function text(read: () => unknown): string | undefined {
  try {
    const value = read();
    return typeof value === "string" ? value : typeof value === "number" ? String(value) : undefined;
  } catch {
    return undefined;
  }
}

/** Anything that was thrown: also a string or an object. */
export function errorParts(error: unknown): ErrorParts {
  if (typeof error !== "object" || error === null) return { type: typeof error, message: safeString(error) };
  const it = error as Record<string, unknown>;
  const named = text(() => it.name);
  const made = text(() => (it.constructor as { name?: unknown } | undefined)?.name);
  const parts: ErrorParts = {
    // `class PaymentError extends Error` has the name "Error" unless its author sets one.
    type: (named === "Error" || named === undefined ? made : named) || named || "Error",
    message: text(() => it.message) ?? "",
  };
  const code = text(() => it.code);
  if (code !== undefined) parts.code = code;
  const stack = text(() => it.stack);
  if (stack !== undefined) parts.stack = parts.type !== "Error" && /^Error[:\n]/.test(stack) ? parts.type + stack.slice(5) : stack;
  return parts;
}

export function safeString(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "[unprintable]";
  }
}

export function isError(value: unknown): value is Error {
  return value instanceof Error || Object.prototype.toString.call(value) === "[object Error]";
}

function causeOf(error: unknown): unknown {
  try {
    return typeof error === "object" && error !== null ? (error as { cause?: unknown }).cause : undefined;
  } catch {
    return undefined;
  }
}

/** The causes of an error, nearest first. */
export function causes(error: unknown): ErrorParts[] {
  const out: ErrorParts[] = [];
  const seen = new Set<unknown>([error]);
  for (let at = causeOf(error); at !== undefined && at !== null && !seen.has(at) && out.length < CAUSES_MAX; at = causeOf(at)) {
    seen.add(at);
    out.push(errorParts(at));
  }
  return out;
}

/** An error somewhere among the fields, as an object. */
export function errorObject(error: unknown): Record<string, unknown> {
  const chain = causes(error);
  return chain.length === 0 ? { ...errorParts(error) } : { ...errorParts(error), causes: chain };
}

/** The error of a record, as its fields: the stack has those of its causes. */
export function errorFields(error: unknown): Record<string, unknown> {
  const own = errorParts(error);
  const chain = causes(error);
  const stacks = [own, ...chain].map((one) => one.stack ?? "");
  const stack = stacks.filter((one) => one !== "").join("\ncaused by: ");
  const fields: Record<string, unknown> = { error: own.message, errorType: own.type };
  if (own.code !== undefined) fields.errorCode = own.code;
  if (stack !== "") fields.errorStack = stack;
  if (chain.length > 0) fields.errorChain = chain.map((one) => one.message);
  return fields;
}
