// The agents in the order in which somebody must look at them, and what is the matter with each.
import type { Schemas } from "$lib/api/client";
import { bytes, count, plural } from "$lib/number";
import { span } from "$lib/time";

export type Agent = Schemas["AgentItem"];

/** A line will be lost within so many minutes: somebody must act now, or soon. */
const LOSS_NOW_MIN = 15;
const LOSS_SOON_MIN = 60;
const LAG_LONG_S = 60;

export type State = "away" | "losing" | "stalled" | "soon" | "behind" | "good";

/** The worst first. */
const ORDER: readonly State[] = ["away", "losing", "stalled", "soon", "behind", "good"];

export const STATE: Record<State, { word: string; tone: "error" | "warn" | "good" }> = {
  away: { word: "Does not answer", tone: "error" },
  losing: { word: "Loses lines soon", tone: "error" },
  stalled: { word: "Kafka takes nothing", tone: "error" },
  soon: { word: "Far behind", tone: "warn" },
  behind: { word: "Behind", tone: "warn" },
  good: { word: "Keeps up", tone: "good" },
};

export function stateOf(agent: Agent): State {
  if (!agent.reachable) return "away";
  const minutes = agent.minutesUntilLoss ?? Infinity;
  if (minutes < LOSS_NOW_MIN) return "losing";
  if (agent.stalled) return "stalled";
  if (minutes < LOSS_SOON_MIN) return "soon";
  if ((agent.lagSeconds ?? 0) > LAG_LONG_S) return "behind";
  return "good";
}

export interface Row {
  key: string;
  agent: Agent;
  state: State;
  /** It has other level rules than it should have. */
  rulesBehind: boolean;
}

export function rowsOf(list: Schemas["AgentList"]): Row[] {
  const rows = list.items.map((agent, n) => ({
    key: agent.pod ?? `${agent.node}/${n}`,
    agent,
    state: stateOf(agent),
    rulesBehind: list.rulesGeneration !== undefined && agent.rulesGeneration !== undefined && agent.rulesGeneration !== list.rulesGeneration,
  }));
  const at = (agent: Agent) => agent.minutesUntilLoss ?? Infinity;
  const place = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  return rows.sort(
    (a, b) =>
      ORDER.indexOf(a.state) - ORDER.indexOf(b.state) ||
      (at(a.agent) === at(b.agent) ? 0 : at(a.agent) - at(b.agent)) ||
      (b.agent.lagSeconds ?? 0) - (a.agent.lagSeconds ?? 0) ||
      place(a.agent.node, b.agent.node) ||
      place(a.key, b.key),
  );
}

export interface Total {
  label: string;
  value: string;
  tone: "error" | "warn" | "plain";
}

export function totals(rows: readonly Row[], generation: number | undefined): Total[] {
  const sum = (of: (agent: Agent) => number | undefined) => rows.reduce((all, { agent }) => all + (of(agent) ?? 0), 0);
  const answering = rows.filter(({ agent }) => agent.reachable);
  const slowest = Math.max(0, ...answering.map(({ agent }) => agent.lagSeconds ?? 0));
  const losses = sum(({ losses }) => losses);
  const known = answering.filter(({ agent }) => agent.rulesGeneration !== undefined);
  const applied = known.filter(({ rulesBehind }) => !rulesBehind);
  return [
    { label: "Agents that answer", value: `${count(answering.length)} of ${count(rows.length)}`, tone: answering.length < rows.length ? "error" : "plain" },
    { label: "Not read yet", value: bytes(sum(({ lagBytes }) => lagBytes)), tone: "plain" },
    { label: "Oldest that is not read", value: span(slowest), tone: slowest > LAG_LONG_S ? "warn" : "plain" },
    { label: "Losses since they started", value: losses ? `${plural(losses, "loss", "losses")}, ${bytes(sum(({ lostBytes }) => lostBytes))}` : "none", tone: losses ? "error" : "plain" },
    ...(generation === undefined ? [] : [{ label: `Have level rules ${generation}`, value: `${count(applied.length)} of ${count(rows.length)}`, tone: (applied.length < rows.length ? "warn" : "plain") as Total["tone"] }]),
  ];
}

/** `4 min`, `3 h`, `under 1 min`. */
export function minutes(n: number): string {
  return n < 1 ? "under 1 min" : span(n * 60);
}
