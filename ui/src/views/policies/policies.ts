// Policies as a form has them, and what is the matter with each.
import type { Schemas } from "$lib/api/client";
import { bytes, plural } from "$lib/number";
import { moment, offset, parseUs, type Zone } from "$lib/time";

export type Policy = Schemas["LogRetentionPolicy"];
export type Spec = Schemas["LogRetentionPolicySpec"];
export type Preview = Schemas["PreviewAnswer"];

/** From what is kept longest to what goes first. */
export const CLASSES = ["error", "warn", "info", "debug"] as const;
export type Class = (typeof CLASSES)[number];

export const KEPT: Record<Class, string> = { error: "30d", warn: "14d", info: "7d", debug: "1d" };

/** What a policy that says nothing else has. */
const PLAIN = { priority: 0, gracePeriod: "24h", bytes: "50Gi", partitions: 10 };

/** What is typed: lists as texts with commas. */
export interface Form {
  name: string;
  services: string;
  namespaces: string;
  tenants: string;
  categories: "" | "system" | "audit";
  priority: string;
  error: string;
  warn: string;
  info: string;
  debug: string;
  gracePeriod: string;
  dropBytes: string;
  dropPartitions: string;
  /** Empty: as many as `dropPartitions`. */
  detachPerPass: string;
  suspend: boolean;
  legalHold: boolean;
  /** Kept as it is: a policy that is tried out stays so. */
  mode: Spec["mode"];
}

const listed = (text: string) => text.split(/[\s,]+/).filter(Boolean);

export function formOf(name: string, spec: Partial<Spec> = {}): Form {
  const { match, retention, dropLimit } = spec;
  const [category, ...others] = match?.categories ?? [];
  return {
    name,
    services: (match?.services ?? []).join(", "),
    namespaces: (match?.namespaces ?? []).join(", "),
    tenants: (match?.tenants ?? []).join(", "),
    categories: category && others.length === 0 ? category : "",
    priority: String(spec.priority ?? PLAIN.priority),
    error: retention?.error ?? KEPT.error,
    warn: retention?.warn ?? KEPT.warn,
    info: retention?.info ?? KEPT.info,
    debug: retention?.debug ?? KEPT.debug,
    gracePeriod: spec.gracePeriod ?? PLAIN.gracePeriod,
    dropBytes: String(dropLimit?.bytes ?? PLAIN.bytes),
    dropPartitions: String(dropLimit?.partitions ?? PLAIN.partitions),
    detachPerPass: String(spec.detachPerPass ?? ""),
    suspend: spec.suspend ?? false,
    legalHold: spec.legalHold ?? false,
    mode: spec.mode ?? "Apply",
  };
}

/** What is no number stays the text that it is: the API says what is wrong with it. */
function number(text: string): number {
  const trimmed = text.trim();
  return (/^-?\d+$/.test(trimmed) ? Number(trimmed) : trimmed) as number;
}

export function bodyOf(form: Form, resourceVersion?: string): Schemas["LogRetentionPolicyBody"] {
  const match: Partial<Spec["match"]> = {};
  if (form.categories) match.categories = [form.categories];
  for (const name of ["namespaces", "services", "tenants"] as const) {
    const values = listed(form[name]);
    if (values.length > 0) match[name] = values;
  }
  const spec: Spec = {
    match,
    priority: number(form.priority),
    retention: { error: form.error.trim(), warn: form.warn.trim(), info: form.info.trim(), debug: form.debug.trim() },
    gracePeriod: form.gracePeriod.trim(),
    dropLimit: { bytes: form.dropBytes.trim(), partitions: number(form.dropPartitions) },
    ...(form.detachPerPass.trim() && { detachPerPass: number(form.detachPerPass) }),
    suspend: form.suspend,
    legalHold: form.legalHold,
    mode: form.mode,
  };
  return { apiVersion: "cordwood.dev/v1alpha1", kind: "LogRetentionPolicy", metadata: resourceVersion ? { name: form.name.trim(), resourceVersion } : { name: form.name.trim() }, spec };
}

export interface Condition {
  word: string;
  tone: "error" | "warn" | "good";
  message: string;
}

/** What is the matter with a policy, the worst first. */
export function conditionsOf({ spec, status }: Policy): Condition[] {
  const of = (type: string) => status?.conditions?.find((one) => one.type === type);
  const said: Condition[] = [];
  const valid = of("Accepted");
  if (valid?.status === "False") said.push({ word: "Not followed", tone: "error", message: valid.message });
  const conflict = of("Conflict");
  if (conflict?.status === "True") said.push({ word: "Conflict", tone: "warn", message: conflict.message });
  if (spec.mode === "Plan") said.push({ word: "Tried out", tone: "warn", message: "Nothing of what it says is done; the plan below says what would be." });
  const chosen = of("ChosenByPods");
  if (chosen?.status === "True") said.push({ word: "Pods choose", tone: "warn", message: chosen.message });
  if (spec.legalHold) said.push({ word: "Legal hold", tone: "warn", message: "Nothing is dropped, also after the policy is deleted." });
  else if (spec.suspend) said.push({ word: "Suspended", tone: "warn", message: "Nothing is dropped, and no retention is shortened." });
  const held = of("Held");
  if (held?.status === "True") said.push({ word: "Held", tone: "warn", message: status?.waits ?? held.message });
  if (said.length > 0) return said;
  const ready = of("Ready");
  if (ready?.status === "True") return [{ word: "Ready", tone: "good", message: "" }];
  return [{ word: "On its way", tone: "warn", message: ready?.message ?? "The operator has not seen it yet." }];
}

/** How much, in words: `2 partitions, 1,204 records, 1.0 MB`. Records are left out where they are not counted. */
export function amountOf({ partitions, records, bytes: size }: { partitions: number; records?: number; bytes: number }): string {
  return [plural(partitions, "partition"), records !== undefined && plural(records, "record"), bytes(size)].filter(Boolean).join(", ");
}

/** What saving would do to records that there are, in words. */
export function consequence({ sooner, later }: Preview): string {
  const said = (amount: Preview["sooner"]) => `${plural(amount.partitions, "partition")} (${bytes(amount.bytes)})`;
  const parts = [sooner.partitions > 0 && `${said(sooner)} ${sooner.partitions === 1 ? "goes" : "go"} sooner`, later.partitions > 0 && `${said(later)} ${later.partitions === 1 ? "stays" : "stay"} longer`];
  return parts.filter(Boolean).join(", ") || "no stored record goes at another time";
}

const UNIT_S: Record<string, number> = { y: 365 * 86400, w: 7 * 86400, d: 86400, h: 3600, m: 60, s: 1 };

const seconds = (text: string) => [...text.matchAll(/(\d+)([ywdhms])/g)].reduce((all, [, n, unit]) => all + Number(n) * UNIT_S[unit!]!, 0);

/** `2y` and `730d` are one length of time. */
export function sameDuration(a: string, b: string): boolean {
  return a === b || seconds(a) === seconds(b);
}

/** Which level is kept longest, by which policy: what is older than that has gone, of whatever service it was. `null`: something is kept for ever. */
export function keptLongest(policies: readonly Pick<Policy, "metadata" | "spec">[]): { policy: string; level: Class; retention: string; us: number } | null {
  if (policies.some(({ spec }) => spec.legalHold || spec.suspend)) return null;
  const all = policies.some(({ metadata }) => metadata.name === "default") ? policies : [...policies, { metadata: { name: "default" }, spec: {} as Partial<Spec> }];
  const kept = all.flatMap(({ metadata, spec }) =>
    CLASSES.map((level) => {
      const retention = spec.retention?.[level] ?? KEPT[level];
      return { policy: metadata.name ?? "", level, retention, us: seconds(retention) * 1e6 };
    }),
  );
  return kept.reduce((longest, one) => (one.us > longest.us ? one : longest));
}

/** A text of the planner's, with its times as the rest of the page has them. */
export function withTimes(text: string, zone: Zone): string {
  return text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (time) => `${moment(parseUs(time), zone)} ${offset(parseUs(time), zone)}`);
}
