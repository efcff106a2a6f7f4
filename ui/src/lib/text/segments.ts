// A line of anybody's making, in parts that can be shown as they are: plain text, signs that would hide or turn something around, and text in one
// of a terminal's colours. Pure; nothing of it is ever markup.

export type Segment =
  | { kind: "plain"; text: string }
  /** Shown in place of a sign that is not seen by itself. */
  | { kind: "sign"; text: string; name: string }
  | { kind: "colour"; text: string; classes: string }
  /** What somebody looks for in the view. */
  | { kind: "found"; text: string };

const NAMES: Record<number, [text: string, name: string]> = {
  0x00a0: [" ", ""],
  0x00ad: ["SHY", "soft hyphen"],
  0x061c: ["ALM", "Arabic letter mark"],
  0x180e: ["MVS", "Mongolian vowel separator"],
  0x200b: ["ZWSP", "zero width space"],
  0x200c: ["ZWNJ", "zero width non-joiner"],
  0x200d: ["ZWJ", "zero width joiner"],
  0x200e: ["LRM", "left-to-right mark"],
  0x200f: ["RLM", "right-to-left mark"],
  0x2028: ["LS", "line separator"],
  0x2029: ["PS", "paragraph separator"],
  0x202a: ["LRE", "left-to-right embedding"],
  0x202b: ["RLE", "right-to-left embedding"],
  0x202c: ["PDF", "pop directional formatting"],
  0x202d: ["LRO", "left-to-right override"],
  0x202e: ["RLO", "right-to-left override"],
  0x2060: ["WJ", "word joiner"],
  0x2066: ["LRI", "left-to-right isolate"],
  0x2067: ["RLI", "right-to-left isolate"],
  0x2068: ["FSI", "first strong isolate"],
  0x2069: ["PDI", "pop directional isolate"],
  0xfeff: ["BOM", "byte order mark"],
};

// Sequences of a terminal: CSI, OSC (to BEL or ST), other strings to ST, and two-sign ones.
const ESCAPE = /\u001b(?:\[([0-9;:]*)([ -/]*[@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\|$)|[PX^_][^\u001b]*(?:\u001b\\|$)|[ -/]*[0-~])/y;
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\n\t]|\p{Cs}/gu;
/** A run of marks on one letter that would climb over other lines. */
const MARKS = /(\p{M}{4})\p{M}+/gu;
/** In a joined emoji the joiner is no trick. */
const JOINED = /(?<=\p{Extended_Pictographic}\ufe0f?)\u200d(?=\p{Extended_Pictographic})/gu;

/** `lines`: line breaks and tabs stay as they are. Otherwise a break is a sign, so that one record is one line. */
export function segments(text: string, lines: boolean): Segment[] {
  const out: Segment[] = [];
  let classes = "";
  let style = { bold: false, dim: false, italic: false, underline: false, colour: -1 };
  const push = (plain: string) => {
    if (plain === "") return;
    const tamed = plain.replace(MARKS, "$1");
    out.push(classes ? { kind: "colour", text: tamed, classes } : { kind: "plain", text: tamed });
  };
  const joiners = new Set<number>();
  if (text.includes("\u200d")) for (const { index } of text.matchAll(JOINED)) joiners.add(index);
  HIDDEN.lastIndex = 0;
  let from = 0;
  for (let found = HIDDEN.exec(text); found; found = HIDDEN.exec(text)) {
    const at = found.index;
    const code = text.charCodeAt(at);
    if ((lines && (code === 0x0a || code === 0x09)) || joiners.has(at)) continue;
    push(text.slice(from, at));
    from = at + found[0].length;
    if (code === 0x1b) {
      ESCAPE.lastIndex = at;
      const escape = ESCAPE.exec(text);
      if (escape) {
        from = at + escape[0].length;
        HIDDEN.lastIndex = from;
        if (escape[2] === "m") {
          style = styled(style, escape[1] ?? "");
          classes = classesOf(style);
        }
        continue;
      }
    }
    const sign = signOf(code);
    if (sign) out.push(sign);
  }
  push(text.slice(from));
  return out;
}

const ANY_HIDDEN = new RegExp(HIDDEN.source, "u");
const VALUE_MAX = 512;

/** A value of anybody's making where it is a name, not a line: no colours, its hidden signs by their names, and no more than there is room for. */
export function named(text: string): string {
  const cut = text.length > VALUE_MAX ? `${text.slice(0, VALUE_MAX)}…` : text;
  if (!ANY_HIDDEN.test(cut)) return cut;
  return segments(cut, false).map((one) => (one.kind === "sign" ? `[${one.text}]` : one.text)).join("");
}

function signOf(code: number): Segment | null {
  if (code === 0x0a) return { kind: "sign", text: "⏎", name: "line break" };
  if (code === 0x09) return { kind: "plain", text: "  " };
  if (code === 0x0d) return { kind: "sign", text: "CR", name: "carriage return" };
  if (code < 0x20) return { kind: "sign", text: String.fromCharCode(0x2400 + code), name: `control sign ${code}` };
  if (code === 0x7f) return { kind: "sign", text: "␡", name: "delete" };
  const known = NAMES[code];
  if (known) return { kind: "sign", text: known[0], name: known[1] };
  return { kind: "sign", text: `U+${code.toString(16).toUpperCase().padStart(4, "0")}`, name: "a sign that is not seen" };
}

type Style = { bold: boolean; dim: boolean; italic: boolean; underline: boolean; colour: number };

/** Select Graphic Rendition: weight, slope, underline and the sixteen colours. Backgrounds, blinking and hiding are passed over. */
function styled(style: Style, parameters: string): Style {
  const next = { ...style };
  const codes = parameters === "" ? [0] : parameters.split(/[;:]/).map(Number);
  for (let n = 0; n < codes.length; n++) {
    const code = codes[n]!;
    if (code === 0) Object.assign(next, { bold: false, dim: false, italic: false, underline: false, colour: -1 });
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 22) next.bold = next.dim = false;
    else if (code === 23) next.italic = false;
    else if (code === 24) next.underline = false;
    else if (code >= 30 && code <= 37) next.colour = code - 30;
    else if (code >= 90 && code <= 97) next.colour = code - 90;
    else if (code === 39) next.colour = -1;
    else if (code === 38 || code === 48) {
      const of = codes[n + 1] === 5 ? codes[n + 2] : undefined;
      if (code === 38 && of !== undefined && of < 16) next.colour = of % 8;
      n += codes[n + 1] === 5 ? 2 : codes[n + 1] === 2 ? 4 : 0;
    }
  }
  return next;
}

const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

function classesOf({ bold, dim, italic, underline, colour }: Style): string {
  const names = [bold && "t-bold", dim && "t-dim", italic && "t-italic", underline && "t-underline", colour >= 0 && `t-${COLOURS[colour]}`];
  return names.filter(Boolean).join(" ");
}

/** Without colours and signs that are not seen: for a copy, a title. */
export function bare(text: string): string {
  return segments(text, true)
    .map((part) => (part.kind === "sign" ? "" : part.text))
    .join("");
}

/** In longer texts nothing is marked: it would take longer than anybody waits. */
const MARKED_MAX = 32 * 1024;

/** The same parts with a text marked wherever it occurs in one of them, in any case. */
export function marked(parts: Segment[], needle: string): Segment[] {
  const wanted = needle.toLowerCase();
  if (wanted === "" || parts.reduce((sum, { text }) => sum + text.length, 0) > MARKED_MAX) return parts;
  return parts.flatMap((part) => {
    if (part.kind === "sign") return [part];
    const lower = part.text.toLowerCase();
    // Where lower case has another length, places would be wrong.
    if (lower.length !== part.text.length) return [part];
    const out: Segment[] = [];
    let from = 0;
    for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
      if (at > from) out.push({ ...part, text: part.text.slice(from, at) });
      out.push({ kind: "found", text: part.text.slice(at, at + wanted.length) });
      from = at + wanted.length;
    }
    if (from === 0) return [part];
    if (from < part.text.length) out.push({ ...part, text: part.text.slice(from) });
    return out;
  });
}
