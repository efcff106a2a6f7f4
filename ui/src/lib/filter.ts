// Terms of a filter expression (docs/search.md) that clicks put in and take out, beside whatever somebody typed. Pure.

const BARE = /^[\p{L}\p{N}_][\p{L}\p{N}_./-]*$/u;
const WORDS = new Set(["and", "or", "not", "in", "like", "contains", "regexp", "exists"]);

/** A value as the expression takes it. */
export function quoted(value: string): string {
  if (BARE.test(value) && !WORDS.has(value.toLowerCase())) return value;
  return `"${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`;
}

export interface Terms {
  included: string[];
  excluded: string[];
  missing: boolean;
}

const VALUE = String.raw`"(?:[^"\\]|\\.)*"|[^\s(),"]+`;
const escaped = (field: string) => field.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

function pattern(field: string): RegExp {
  const name = escaped(field);
  return new RegExp(
    String.raw`(?<=^|\s)${name}(?:(!=|=)(${VALUE})| IN \(((?:\s*(?:${VALUE})\s*,?)*)\)| (NOT EXISTS))(?=\s|$)`,
    "gu",
  );
}

function plain(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, "$1") : value;
}

/** What stands about a field at the top of an expression. */
export function termsOf(filter: string, field: string): Terms {
  const terms: Terms = { included: [], excluded: [], missing: false };
  for (const [, sign, value, list, missing] of top(filter).matchAll(pattern(field))) {
    if (missing) terms.missing = true;
    else if (list !== undefined) for (const [one] of list.matchAll(new RegExp(VALUE, "gu"))) terms.included.push(plain(one));
    else terms[sign === "=" ? "included" : "excluded"].push(plain(value!));
  }
  return terms;
}

/** An expression with other terms about a field; all that is not about it stays as it is. */
export function withTerms(filter: string, field: string, { included, excluded, missing }: Terms): string {
  const rest = alternatives(filter) ? `(${filter})` : filter.replace(pattern(field), " ").replace(/\s+/g, " ").trim();
  const own: string[] = [];
  if (included.length === 1) own.push(`${field}=${quoted(included[0]!)}`);
  if (included.length > 1) own.push(`${field} IN (${included.map(quoted).join(", ")})`);
  for (const value of excluded) own.push(`${field}!=${quoted(value)}`);
  if (missing) own.push(`${field} NOT EXISTS`);
  return [rest, ...own].filter(Boolean).join(" ");
}

export type Way = "include" | "exclude" | "only" | "missing";

/** The expression after a click on a value; a second click undoes the first. */
export function clicked(filter: string, field: string, value: string, way: Way): string {
  const { included, excluded, missing } = termsOf(filter, field);
  const without = (list: string[]) => list.filter((one) => one !== value);
  switch (way) {
    case "missing":
      return withTerms(filter, field, { included: [], excluded: [], missing: !missing });
    case "only":
      return withTerms(filter, field, { included: [value], excluded: [], missing: false });
    case "include":
      return withTerms(filter, field, {
        included: included.includes(value) ? without(included) : [...included, value],
        excluded: without(excluded),
        missing: false,
      });
    case "exclude":
      return withTerms(filter, field, {
        included: without(included),
        excluded: excluded.includes(value) ? without(excluded) : [...excluded, value],
        missing: false,
      });
  }
}

/** Alternatives at the top: what is added must hold for all of them. */
function alternatives(filter: string): boolean {
  return /(?:^|\s)(?:OR|\|\|)(?:\s|$)/.test(top(filter).replace(/"(?:[^"\\]|\\.)*"/g, '""'));
}

/** Without what stands in parentheses, but for those of IN. */
function top(filter: string): string {
  let out = "";
  let depth = 0;
  let inQuotes = false;
  for (let n = 0; n < filter.length; n++) {
    const sign = filter[n]!;
    if (inQuotes) {
      if (depth === 0) out += sign;
      if (sign === "\\") {
        n++;
        if (depth === 0) out += filter[n] ?? "";
      } else if (sign === '"') inQuotes = false;
      continue;
    }
    if (sign === "(" && !/\sIN $/.test(filter.slice(0, n)) && !(depth === 0 && /\sIN $/.test(out))) depth++;
    else if (sign === ")" && depth > 0) {
      depth--;
      continue;
    }
    if (depth > 0) continue;
    if (sign === '"') inQuotes = true;
    out += sign;
  }
  return out;
}
