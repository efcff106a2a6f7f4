// What this browser remembers of how somebody likes to look: kept in localStorage, and in the address where it changes what a link shows.
import { url } from "./url/state.svelte";
import type { Zone } from "./time";

function kept<T>(name: string, otherwise: T): T {
  try {
    const text = localStorage.getItem(`cordwood.${name}`);
    return text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise;
  }
}

function keep(name: string, value: unknown): void {
  try {
    localStorage.setItem(`cordwood.${name}`, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing still shows everything.
  }
}

class Settings {
  #zone = $state<Zone>(kept<Zone>("zone", "local"));
  #wrap = $state(kept("wrap", false));

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

export const settings = new Settings();
export { kept, keep };
