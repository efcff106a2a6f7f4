// What this browser remembers of how somebody likes to look: kept in localStorage, and in the address where it changes what a link shows.
import { keep, kept } from "./storage";
import { url } from "./url/state.svelte";
import type { Zone } from "./time";

/** `system`: light or dark as the system wishes. */
export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

class Settings {
  #zone = $state<Zone>(kept<Zone>("zone", "local", (value) => value === "utc" || value === "local"));
  #wrap = $state(kept("wrap", false));
  #theme = $state<Theme>(themeOf(kept<unknown>("theme", "system")));

  constructor() {
    // Another tab may choose it too.
    addEventListener("storage", ({ key }) => key === "cordwood.theme" && this.#show(themeOf(kept<unknown>("theme", "system"))));
  }

  /** `public/theme.js` shows it before this is loaded. */
  get theme(): Theme {
    return this.#theme;
  }
  set theme(theme: Theme) {
    keep("theme", theme);
    this.#show(theme);
  }
  #show(theme: Theme): void {
    this.#theme = theme;
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  /** The address goes first: who opens a link sees what was shared. */
  get zone(): Zone {
    const told = url.get("tz");
    return told === "utc" || told === "local" ? told : this.#zone;
  }
  set zone(zone: Zone) {
    this.#zone = zone;
    keep("zone", zone);
    url.set({ tz: zone }, { replace: true });
  }

  get wrap(): boolean {
    return url.has("wrap") ? url.get("wrap") === "1" : this.#wrap;
  }
  set wrap(wrap: boolean) {
    this.#wrap = wrap;
    keep("wrap", wrap);
    url.set({ wrap: wrap ? "1" : "0" }, { replace: true });
  }
}

function themeOf(value: unknown): Theme {
  return THEMES.find((theme) => theme === value) ?? "system";
}

export const settings = new Settings();
