// Where the keyboard is, is never lost: when what has the focus goes away (a row that was removed, a button that took another's place) or is
// switched off, what stands in its place has it, else its neighbour, else what is around it.

const TABBABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

function tabbable(within: Element, last: boolean): HTMLElement | undefined {
  const found = [within, ...within.querySelectorAll(TABBABLE)].filter(
    (one): one is HTMLElement => one instanceof HTMLElement && one.matches(TABBABLE) && one.tabIndex >= 0 && !one.matches(":disabled") && one.checkVisibility({ visibilityProperty: true }),
  );
  return last ? found.at(-1) : found[0];
}

/** The element, or the first around it, that is still there; and at which place within that it was. */
interface Step {
  around: Element;
  place: number;
}

function stepsOf(element: Element, main: Element): Step[] {
  const steps: Step[] = [];
  for (let at = element; at !== main && at.parentElement && at.parentElement !== document.body; at = at.parentElement) {
    steps.push({ around: at.parentElement, place: [...at.parentElement.children].indexOf(at) });
  }
  return steps;
}

function successor(steps: readonly Step[]): HTMLElement | undefined {
  for (const { around, place } of steps) {
    if (!around.isConnected) continue;
    const beside = [...around.children];
    for (const [one, last] of [[beside[place], false], ...beside.slice(0, place).map((one) => [one, true]).reverse()] as [Element | undefined, boolean][]) {
      const found = one && tabbable(one, last);
      if (found) return found;
    }
  }
  return undefined;
}

/** From now on; gives what ends it. `main` has the focus when nothing else is left to have it. */
export function keepFocus(main: HTMLElement): () => void {
  let last: Element | null = null;
  let steps: Step[] = [];
  // Of each element around only its own children: what a list within changes beside it costs nothing here.
  const observer = new MutationObserver(() => {
    if (!last || (document.activeElement !== null && document.activeElement !== document.body && document.activeElement !== last)) return;
    if (last.isConnected && !last.matches(":disabled")) return;
    const to = successor(steps) ?? main;
    last = null;
    to.focus({ preventScroll: true });
  });
  const came = ({ target }: FocusEvent) => {
    observer.disconnect();
    if (!(target instanceof Element)) return;
    last = target;
    steps = stepsOf(target, main);
    for (const { around } of steps) observer.observe(around, { childList: true });
    observer.observe(target, { attributes: true, attributeFilter: ["disabled"] });
  };
  // Who clicks beside everything wants it nowhere.
  const pressed = () => (last = document.activeElement === document.body ? null : last);
  document.addEventListener("focusin", came);
  document.addEventListener("pointerdown", pressed);
  return () => {
    observer.disconnect();
    document.removeEventListener("focusin", came);
    document.removeEventListener("pointerdown", pressed);
  };
}
