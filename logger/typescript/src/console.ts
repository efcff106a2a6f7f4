// Lines for people, in development: time of day, level, logger, message, fields. What could be a terminal's sequence is shown, not obeyed.

const COLOURS: Record<string, string> = { TRACE: "90", DEBUG: "36", INFO: "32", WARN: "33", ERROR: "31" };
const SHOWN = new Set(["timestamp", "level", "message", "service", "logger", "errorStack", "errorType", "error", "errorChain"]);

/** Makes one line of JSON into what a person reads. */
export function prettier(coloured: boolean): (line: string) => string {
  const paint = (code: string, text: string) => (coloured ? `\u001b[${code}m${text}\u001b[0m` : text);
  return (line) => {
    const record = JSON.parse(line) as Record<string, unknown>;
    const level = String(record.level);
    const fields = Object.entries(record)
      .filter(([key]) => !SHOWN.has(key))
      .map(([key, value]) => `${paint("2", plain(key) + "=")}${typeof value === "string" ? shown(value) : plain(JSON.stringify(value))}`);
    const parts = [
      paint("2", String(record.timestamp).slice(11, 23)),
      paint(COLOURS[level] ?? "0", level.padEnd(5)),
      paint("2", plain(String(record.logger ?? record.service ?? ""))),
      paint("1", plain(String(record.message))),
      ...fields,
    ];
    const stack = typeof record.errorStack === "string" ? record.errorStack : error(record);
    return parts.join(" ") + (stack === "" ? "" : "\n" + plain(stack).replace(/^/gm, "    ")) + "\n";
  };
}

function error(record: Record<string, unknown>): string {
  return typeof record.error === "string" ? `${record.errorType ?? "Error"}: ${record.error}` : "";
}

function shown(value: string): string {
  return /^[^\s"=]+$/.test(value) ? plain(value) : plain(JSON.stringify(value));
}

/** Control characters but the newline and the tabulator, visible. */
function plain(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (one) => `\\x${one.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
