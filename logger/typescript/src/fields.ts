// Fields that are known before a call (of the process, a context, a logger) as JSON that is made once, and fields of a call beside them.
// The nearest wins: a key never comes twice.

import { errorFields, isError } from "./errors";
import { json, quoted, thrown } from "./json";
import { keyOf, type Key } from "./keys";

export type Fields = Record<string, unknown>;
/** Keys with their values as JSON. */
export type Made = ReadonlyMap<string, string>;
export const NONE: Made = new Map();

function value(key: Key, given: unknown): string | undefined {
  if (given === null) return undefined;
  if (key.isText && (typeof given === "number" || typeof given === "bigint")) return quoted(String(given));
  return json(given);
}

/** Calls `each` for all own members that have a value; a member that throws when it is read says so. */
function members(fields: Fields, each: (key: Key, made: string) => void): void {
  let names: string[];
  try {
    names = Object.keys(fields);
  } catch (error) {
    each(keyOf("fields"), quoted(thrown(error)));
    return;
  }
  for (const name of names) {
    const key = keyOf(name);
    let made: string | undefined;
    try {
      const given = fields[name];
      if ((key.name === "error" || key.name === "err") && isError(given)) {
        for (const [part, one] of Object.entries(errorFields(given))) each(keyOf(part), value(keyOf(part), one) as string);
        continue;
      }
      made = value(key, given);
    } catch (error) {
      made = quoted(thrown(error));
    }
    if (made !== undefined) each(key, made);
  }
}

/** `below` with `fields` over it. */
export function over(below: Made, fields: Fields): Made {
  const out = new Map(below);
  members(fields, (key, made) => out.set(key.name, made));
  return out;
}

export function joined(below: Made, above: Made): Made {
  if (below.size === 0) return above;
  const out = new Map(below);
  for (const [name, made] of above) out.set(name, made);
  return out;
}

export function text(made: Made): string {
  let out = "";
  for (const [name, one] of made) out += keyOf(name).json + one;
  return out;
}

/** What is known before the call, and the JSON of it. */
export interface Head {
  made: Made;
  text: string;
}

export const head = (made: Made): Head => ({ made, text: text(made) });

/** The members of a line's object: the head and the call's fields. */
export function beside(known: Head, fields: Fields): string {
  const prototype = Object.getPrototypeOf(fields);
  if (prototype !== Object.prototype && prototype !== null) return carefully(known, fields);
  let out = known.text;
  let seen = 0;
  for (const name in fields) {
    const key = keyOf(name);
    if ((seen & key.bit) !== 0 || known.made.has(key.name)) return carefully(known, fields);
    seen |= key.bit;
    let one: string | undefined;
    try {
      const given = fields[name];
      if (typeof given === "object") {
        if (given === null) continue;
        if ((key.name === "error" || name === "err") && isError(given)) return carefully(known, fields);
        one = json(given);
      } else one = key.isText && typeof given === "number" ? quoted(String(given)) : json(given);
    } catch (error) {
      one = quoted(thrown(error));
    }
    if (one !== undefined) out += key.json + one;
  }
  return out;
}

function carefully(known: Head, fields: Fields): string {
  return text(over(known.made, fields));
}
