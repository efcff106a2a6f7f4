// What of a page is cut off at its edges, or by what holds it and does not scroll: run in the page itself. Records may be cut, and the lists of them.

/** @returns {string[]} */
export function overflowing() {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const one of document.querySelectorAll("main, main *, dialog[open], dialog[open] *, nav *")) {
    if (one.closest("[data-id], .sr-only, svg, [data-editor], thead") || !one.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const { right, left, width } = one.getBoundingClientRect();
    const name = `${one.tagName.toLowerCase()}.${one.className}`;
    if (width > 1 && (right > innerWidth + 1 || left < -1)) found.push(`${name} ${Math.round(left)}..${Math.round(right)}`);
    const { overflowX, textOverflow } = getComputedStyle(one);
    if (one.scrollWidth > one.clientWidth + 4 && one.clientWidth > 1 && overflowX !== "visible" && textOverflow !== "ellipsis" && !one.matches("input, select")) found.push(`${name} holds ${one.scrollWidth} in ${one.clientWidth}`);
  }
  return [...new Set(found)].slice(0, 6);
}
