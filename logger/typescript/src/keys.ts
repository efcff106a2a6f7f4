// Names of fields: which spelling is which key, which values are always texts, and which names are the logger's own.

import { keyed } from "./json";

export interface Key {
  name: string;
  /** `,"name":` */
  json: string;
  /** A number is written as a text. */
  isText: boolean;
  /** Not 0 where another spelling may stand in the same call. */
  bit: number;
}

const TEXTS = ["requestId", "traceId", "spanId", "taskId", "userId", "sessionId", "impersonatorId", "tenantId", "tenantSlug", "errorCode"];
const KNOWN = [...TEXTS, "errorType", "errorStack", "errorChain"];
const OWN = ["timestamp", "level", "message", "is_audit"];

const SPELLINGS = new Map<string, string>([
  ...KNOWN.map((name) => [name.replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase()), name] as const),
  ...OWN.map((name) => [name, "field_" + name] as const),
]);
const TEXT = new Set(TEXTS);
const SEVERAL = [...KNOWN, ...OWN.map((name) => "field_" + name), "error"];

function bitOf(name: string): number {
  const at = SEVERAL.indexOf(name);
  return at < 0 ? 0 : 1 << at;
}

const known = new Map<string, Key>();
const KEPT_MAX = 2000;

/** What a field's name means. An application's names are few, so they are remembered. */
export function keyOf(given: string): Key {
  let key = known.get(given);
  if (key === undefined) {
    const name = SPELLINGS.get(given) ?? given;
    key = { name, json: keyed(name), isText: TEXT.has(name), bit: bitOf(name) };
    if (known.size < KEPT_MAX && given.length < 200) known.set(given, key);
  }
  return key;
}
