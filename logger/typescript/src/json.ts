// Values to JSON: whatever the application hands over becomes valid JSON on one line, and nothing that it hands over can throw.
// Bounds: DEPTH_MAX levels, ITEMS_MAX members of one object or array, TEXT_BYTES_MAX bytes of one text, VALUE_CHARS_MAX of one value.

import { errorObject } from "./errors";

export const DEPTH_MAX = 16;
export const ITEMS_MAX = 1000;
export const TEXT_BYTES_MAX = 65_536;
/** Beyond it an object or array has `[Size]` where more would stand. */
export const VALUE_CHARS_MAX = 1 << 20;

// What cannot stand in a JSON string as it is; surrogates are looked at closely, because one without its other half is not UTF-8.
const UNSAFE = /[\u0000-\u001f"\\\ud800-\udfff]/;
const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** A string with its quotation marks. Half a surrogate pair becomes U+FFFD; what is too long is cut and says so. */
export function quoted(text: string): string {
  if (text.length * 3 > TEXT_BYTES_MAX) text = cut(text);
  if (!UNSAFE.test(text)) return '"' + text + '"';
  const json = JSON.stringify(text);
  return json.includes("\\ud") ? JSON.stringify(text.replace(LONE, "\ufffd")) : json;
}

/** A longer text ends between two characters at or below the bound, and says how many bytes are missing. */
function cut(text: string): string {
  const whole = text.replace(LONE, "\ufffd");
  const bytes = Buffer.byteLength(whole);
  if (bytes <= TEXT_BYTES_MAX) return whole;
  const kept = Buffer.from(whole.slice(0, TEXT_BYTES_MAX));
  let end = Math.min(TEXT_BYTES_MAX, kept.length);
  while (end > 0 && ((kept[end] ?? 0) & 0xc0) === 0x80) end--;
  return `${kept.toString("utf8", 0, end)}\u2026(+${bytes - end} bytes)`;
}

const keys = new Map<string, string>();
const KEYS_KEPT_MAX = 2000;

/** `,"key":`, remembered: an application's keys are few. */
export function keyed(key: string): string {
  let json = keys.get(key);
  if (json === undefined) {
    json = "," + quoted(key) + ":";
    if (keys.size < KEYS_KEPT_MAX && key.length < 200) keys.set(key, json);
  }
  return json;
}

/** Any value as JSON; `undefined` where a member is to be left out (undefined, functions, symbols). */
export function json(value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      return quoted(value);
    case "number":
      return value - value === 0 ? "" + value : '"' + value + '"';
    case "boolean":
      return value ? "true" : "false";
    case "bigint":
      return value.toString();
    case "object":
      if (value === null) return "null";
      budget = VALUE_CHARS_MAX;
      return object(value, 1, []);
    default:
      return undefined;
  }
}

let budget = 0;

function inner(value: unknown, depth: number, above: object[]): string | undefined {
  if (typeof value === "object" && value !== null) return object(value, depth, above);
  const one = json(value);
  if (one !== undefined) budget -= one.length;
  return one;
}

function object(value: object, depth: number, above: object[]): string | undefined {
  if (above.includes(value)) return '"[Circular]"';
  if (depth > DEPTH_MAX) return '"[Depth]"';
  if (budget < 0) return '"[Size]"';
  above.push(value);
  try {
    return members(value, depth, above);
  } catch (error) {
    return quoted(thrown(error));
  } finally {
    above.pop();
  }
}

/** What stands where reading a value threw. */
export function thrown(error: unknown): string {
  let said = "";
  try {
    said = String((error as Error)?.message ?? error);
  } catch {
    said = "an error that cannot be read";
  }
  return `[Throws: ${said.slice(0, 200)}]`;
}

function members(value: object, depth: number, above: object[]): string | undefined {
  if (Array.isArray(value)) return list(value, value.length, depth, above);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? '"Invalid Date"' : `"${value.toISOString()}"`;
    if (value instanceof Error) return plain(errorObject(value), depth, above);
    if (value instanceof Map) return plainOf(value, depth, above);
    if (value instanceof Set) return list(value, value.size, depth, above);
    if (value instanceof RegExp || value instanceof URL) return quoted(String(value));
    if (ArrayBuffer.isView(value)) return bytes(value, depth, above);
    if (value instanceof ArrayBuffer) return bytes(new Uint8Array(value), depth, above);
    if (value instanceof String || value instanceof Number || value instanceof Boolean) return json(value.valueOf());
  }
  const own = (value as { toJSON?: unknown }).toJSON;
  if (typeof own === "function") {
    const said: unknown = own.call(value, "");
    if (said !== value) return inner(said, depth + 1, above) ?? "null";
  }
  return plain(value as Record<string, unknown>, depth, above);
}

function plain(value: Record<string, unknown>, depth: number, above: object[]): string {
  let out = "";
  let count = 0;
  for (const key of Object.keys(value)) {
    if (++count > ITEMS_MAX || budget < 0) {
      out += `${keyed("\u2026")}${quoted(`${Object.keys(value).length - count + 1} more`)}`;
      break;
    }
    const one = read(value, key, depth, above);
    budget -= key.length;
    if (one !== undefined) out += keyed(key) + one;
  }
  return out === "" ? "{}" : "{" + out.slice(1) + "}";
}

function read(value: Record<string, unknown>, key: string, depth: number, above: object[]): string | undefined {
  try {
    return inner(value[key], depth + 1, above);
  } catch (error) {
    return quoted(thrown(error));
  }
}

function plainOf(map: Map<unknown, unknown>, depth: number, above: object[]): string {
  const object: Record<string, unknown> = Object.create(null);
  for (const [key, value] of map) object[typeof key === "object" ? (json(key) ?? "") : String(key)] = value;
  return plain(object, depth, above);
}

function list(values: Iterable<unknown>, length: number, depth: number, above: object[]): string {
  let out = "";
  let count = 0;
  for (const value of values) {
    if (++count > ITEMS_MAX || budget < 0) {
      out += "," + quoted(`\u2026 ${length - count + 1} more`);
      break;
    }
    out += "," + (inner(value, depth + 1, above) ?? "null");
  }
  return "[" + out.slice(1) + "]";
}

/** Bytes are the text that they encode; numbers in a typed array are a list. */
function bytes(view: ArrayBufferView, depth: number, above: object[]): string {
  if (view instanceof Uint8Array || view instanceof DataView) {
    const seen = Math.min(view.byteLength, TEXT_BYTES_MAX * 2);
    return quoted(Buffer.from(view.buffer, view.byteOffset, seen).toString("utf8"));
  }
  const numbers = view as unknown as ArrayLike<number>;
  return list(Array.prototype.slice.call(numbers, 0, ITEMS_MAX + 1), numbers.length, depth, above);
}
