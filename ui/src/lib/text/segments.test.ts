import { describe, expect, it } from "vitest";
import { bare, marked, named, segments } from "./segments";

const E = "\u001b";
const told = (text: string, lines = false) =>
  segments(text, lines)
    .map((part) => (part.kind === "plain" ? part.text : part.kind === "sign" ? `<${part.text}>` : `{${part.kind === "colour" ? part.classes : ""}:${part.text}}`))
    .join("");

describe("lines of anybody's making", () => {
  it.each([
    ["plain text", "plain text"],
    ["<script>alert(1)</script>", "<script>alert(1)</script>"],
    [`${E}[31mred${E}[0m plain`, "{t-red:red} plain"],
    [`${E}[1;38;5;4mx${E}[22my${E}[39mz`, "{t-bold t-blue:x}{t-blue:y}z"],
    [`${E}[38;2;255;0;0mx`, "x"],
    [`${E}[48;5;1mx`, "x"],
    [`${E}[5m${E}[8mhidden${E}[0m`, "hidden"],
    [`${E}[2J${E}[1;1Hx`, "x"],
    [`${E}]8;;https://evil.example${E}\\click${E}]8;;${E}\\`, "click"],
    [`${E}]0;title\u0007x`, "x"],
    [`${E}Pq#0${E}\\x`, "x"],
    [`a${E}`, "a<␛>"],
    ["a\u0000b", "a<␀>b"],
    ["a\u202eb\u202c", "a<RLO>b<PDF>"],
    ["a\u200bb", "a<ZWSP>b"],
    ["a\u0085b", "a<U+0085>b"],
    ["a\nb", "a<⏎>b"],
    ["👩\u200d💻", "👩\u200d💻"],
    ["a\u200db", "a<ZWJ>b"],
    ["é支付", "é支付"],
    [`z${"\u0301".repeat(500)}`, `z${"\u0301".repeat(4)}`],
    ["a\ud800b", "a<U+D800>b"],
  ])("%j", (text, expected) => expect(told(text)).toBe(expected));

  it("keeps lines where lines are shown", () => expect(told("a\n\tb\r", true)).toBe("a\n\tb<CR>"));
  it("is bare for a copy", () => expect(bare(`${E}[31mred\u202e${E}[0m x`)).toBe("red x"));
  it("is quick with a megabyte", () => expect(segments("x".repeat(1 << 20), false)).toHaveLength(1));
});

it("marks what somebody looks for, and changes nothing else", () => {
  const parts = marked(segments(`a Timeout b ${E}[31mTIMEOUT${E}[0m`, false), "timeout");
  expect(parts.map(({ kind, text }) => `${kind}:${text}`)).toEqual(["plain:a ", "found:Timeout", "plain: b ", "found:TIMEOUT"]);
  expect(marked(segments("abc", false), "")).toEqual(segments("abc", false));
  expect(marked(segments("x".repeat(40_000), false), "x")).toHaveLength(1);
});

it.each([
  ["checkout", "checkout"],
  ["a\u202eb", "a[RLO]b"],
  ["\u001b[31mred\u001b[0m", "red"],
  ["x\u0000y", "x[\u2400]y"],
  ["s".repeat(600), `${"s".repeat(512)}…`],
])("names a value so that nothing of it is hidden or turned around: %j", (text, shown) => expect(named(text)).toBe(shown));
