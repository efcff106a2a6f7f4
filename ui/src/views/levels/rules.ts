// Level configs as rows of a table: what each is about, whether it is in force, how long it has to go.
import type { Schemas } from "$lib/api/client";
import { parseUs, span } from "$lib/time";

export type Config = Schemas["LevelConfig"];
export type Spec = Config["spec"];

export interface Rule {
  key: string;
  name: string;
  /** Empty: the whole cluster. */
  namespace: string;
  /** What it is about, in words. */
  target: string;
  /** What more a line must have. */
  more: string[];
  level: Schemas["LevelName"];
  scope: "application" | "task";
  permanent: boolean;
  /** NaN: permanent, or not known yet. */
  endsUs: number;
  state: "active" | "waiting" | "ended" | "refused";
  /** Why it is not in force, or what is in its way. */
  notes: string[];
  applied: number | null;
  agents: number | null;
  config: Config;
}

const isTrue = (config: Config, type: string) => config.status?.conditions?.find((one) => one.type === type);

export function ruleOf(config: Config, nowUs: number): Rule {
  const { metadata, spec, status } = config;
  const permanent = "default" in spec && spec.default === true;
  const end = spec.expiresAt ?? status?.expiresAt;
  const endsUs = permanent || !end ? Number.NaN : parseUs(end);
  const labels = Object.entries(spec.selector?.matchLabels ?? {}).map(([name, value]) => `${name}=${value}`);
  const expressions = (spec.selector?.matchExpressions ?? []).map((one) => [one.key, one.operator, (one.values ?? []).join(",")].filter(Boolean).join(" "));
  const all = labels.length + expressions.length + (spec.containers?.length ?? 0) === 0;
  const active = isTrue(config, "Active");
  const valid = isTrue(config, "Accepted");
  const ended = endsUs <= nowUs || active?.reason === "Expired";
  const state = ended ? "ended" : valid?.status === "False" ? "refused" : active?.status === "True" ? "active" : "waiting";
  return {
    key: `${config.kind}/${metadata.namespace ?? ""}/${metadata.name}`,
    name: metadata.name,
    namespace: metadata.namespace ?? "",
    target: spec.service ?? (metadata.namespace && all ? "All of the namespace" : all ? "Everything" : "What has"),
    more: [...labels, ...expressions, ...(spec.containers ?? []).map((name) => `container ${name}`)],
    level: spec.level,
    scope: spec.scope ?? "application",
    permanent,
    endsUs,
    state,
    notes: ended ? [] : notes(config),
    applied: status?.agentsApplied ?? null,
    agents: status?.agentsTotal ?? null,
    config,
  };
}

/** What a condition says against it: a wrong one, one that another is in the way of, a wish that is not done. */
function notes(config: Config): string[] {
  const said = (config.status?.conditions ?? []).filter(({ type, status, reason }) =>
    type === "Conflict" ? status === "True" : status === "False" && type !== "Applied" && !(type === "Active" && reason === "Expired"),
  );
  return [...new Set(said.map(({ message }) => message).filter(Boolean))];
}

export interface Sorted {
  forAWhile: Rule[];
  permanent: Rule[];
  ended: Rule[];
}

/** What ends first stands first; of what has ended, the latest. */
export function sorted(configs: readonly Config[], nowUs: number): Sorted {
  const rules = configs.map((config) => ruleOf(config, nowUs));
  const byEnd = (a: Rule, b: Rule) => (a.endsUs || Infinity) - (b.endsUs || Infinity) || (a.key < b.key ? -1 : 1);
  return {
    forAWhile: rules.filter((rule) => !rule.permanent && rule.state !== "ended").sort(byEnd),
    permanent: rules.filter((rule) => rule.permanent),
    ended: rules.filter((rule) => !rule.permanent && rule.state === "ended").sort((a, b) => byEnd(b, a)),
  };
}

/** `29 min 58 s`, `5 h 3 min`: two units, so that one sees it go. */
export function left(us: number): string {
  const seconds = Math.max(0, Math.floor(us / 1e6));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${span(seconds)} ${seconds % 60} s`;
  if (seconds < 48 * 3600) return `${span(seconds)} ${Math.floor((seconds % 3600) / 60)} min`;
  return `${span(seconds)} ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** The resource as it is to be; made only while it is still the one that is shown. */
export function changed(config: Config, change: Partial<Spec>): Schemas["LevelConfigBody"] {
  const { name, namespace, resourceVersion } = config.metadata;
  const spec: Record<string, unknown> = { ...config.spec, ...change };
  if (change.expiresAt) delete spec.duration;
  return { apiVersion: config.apiVersion, kind: config.kind, metadata: { name, namespace, resourceVersion }, spec } as Schemas["LevelConfigBody"];
}
