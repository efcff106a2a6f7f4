// What a request's headers say of whom it is for: the six `x-` headers and `traceparent`. Others are not looked at.

export type HeadersLike =
  | { get(name: string): string | null | undefined }
  | Record<string, string | readonly string[] | undefined>
  | { headers: HeadersLike };

const FIELDS: readonly (readonly [string, string])[] = [
  ["x-tenant-id", "tenantId"],
  ["x-tenant-slug", "tenantSlug"],
  ["x-user-id", "userId"],
  ["x-session-id", "sessionId"],
  ["x-impersonator-id", "impersonatorId"],
  ["x-request-id", "requestId"],
];
const HEADER_CHARS_MAX = 256;
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;

/** The fields of a request: of `Headers`, a Node, Express or Fastify request, or an object of headers. */
export function requestFields(from: HeadersLike): Record<string, string> {
  try {
    return fieldsOf(reader(from));
  } catch {
    // An object that throws when it is read is no request: nothing is known of it.
    return {};
  }
}

function fieldsOf(read: (name: string) => string): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [header, field] of FIELDS) {
    const value = read(header);
    if (value !== "") out[field] = value;
  }
  const trace = TRACEPARENT.exec(read("traceparent"));
  if (trace) {
    const [, version, traceId = "", spanId = "", more] = trace;
    const isNone = version === "ff" || /^0+$/.test(traceId) || /^0+$/.test(spanId) || (version === "00" && more !== undefined);
    if (!isNone) Object.assign(out, { traceId, spanId });
  }
  return out;
}

function reader(from: HeadersLike): (name: string) => string {
  if (typeof from !== "object" || from === null) return () => "";
  // A request of Fetch, Node, Express or Fastify.
  const inner = (from as { headers?: unknown }).headers;
  if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) return reader(inner as HeadersLike);
  if (typeof (from as { get?: unknown }).get === "function") {
    const headers = from as { get(name: string): unknown };
    return (name) => clean(headers.get(name));
  }
  const lower = new Map<string, unknown>();
  for (const [name, value] of Object.entries(from)) lower.set(name.toLowerCase(), value);
  return (name) => clean(lower.get(name));
}

function clean(value: unknown): string {
  const one: unknown = Array.isArray(value) ? value[0] : value;
  return typeof one === "string" ? one.trim().slice(0, HEADER_CHARS_MAX) : "";
}
