// The views: what each is called, where it is, and the chunk that it is loaded from when somebody goes there.
import type { Component } from "svelte";
import type { Administered } from "$lib/api/me.svelte";
import type { IconName } from "$lib/components/icons";

export interface ViewProps {
  /** What follows the view's own path: `ID` of `/task/ID`, decoded; empty for the view itself. */
  rest: string;
}

export interface View {
  name: string;
  path: string;
  label: string;
  icon: IconName;
  /** In the navigation. */
  shown: boolean;
  /** Shown to anyone who may see any of these. */
  needs?: readonly Administered[];
  load: () => Promise<{ default: Component<ViewProps> }>;
}

export const views: readonly View[] = [
  { name: "logs", path: "/", label: "Logs", icon: "logs", shown: true, load: () => import("./logs/Logs.svelte") },
  { name: "errors", path: "/errors", label: "Errors", icon: "errors", shown: true, load: () => import("./errors/Errors.svelte") },
  { name: "task", path: "/task", label: "Task", icon: "task", shown: true, load: () => import("./task/Task.svelte") },
  { name: "plugin", path: "/plugin", label: "Plugin", icon: "plugin", shown: false, load: () => import("./plugin/Plugin.svelte") },
  { name: "monitor", path: "/monitor", label: "Monitor", icon: "monitor", shown: true, load: () => import("./monitor/Monitor.svelte") },
  { name: "policies", path: "/policies", label: "Policies", icon: "policies", shown: true, needs: ["retention"], load: () => import("./policies/Policies.svelte") },
  { name: "levels", path: "/levels", label: "Levels", icon: "levels", shown: true, needs: ["levels", "clusterLevels"], load: () => import("./levels/Levels.svelte") },
  { name: "agents", path: "/agents", label: "Agents", icon: "agents", shown: true, needs: ["agents"], load: () => import("./agents/Agents.svelte") },
  { name: "whoami", path: "/whoami", label: "Who am I", icon: "person", shown: false, load: () => import("./whoami/WhoAmI.svelte") },
];

/** Those that lead somewhere: the page does not offer a view that would show the reader nothing. Its address says what it needs. */
export function offered(sees: (...kinds: Administered[]) => boolean | null): View[] {
  return views.filter(({ needs }) => !needs || sees(...needs) === true);
}

export interface Place {
  view: View | null;
  rest: string;
}

export function placeOf(path: string): Place {
  if (path === "/" || path === "/logs") return { view: views[0]!, rest: "" };
  const view = views.find(({ path: own }) => own !== "/" && (path === own || path.startsWith(`${own}/`)));
  if (!view) return { view: null, rest: "" };
  return { view, rest: decoded(path.slice(view.path.length + 1)) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
