// Times as the API writes them (RFC 3339, microseconds) and as people read them. Here a time is a number of microseconds since the epoch.

export type Zone = "utc" | "local";

const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** NaN for what is no time. */
export function parseUs(text: string): number {
  const parts = RFC3339.exec(text);
  if (!parts) return Number.NaN;
  const seconds = Date.parse(`${parts[1]}${parts[3]}`) * 1000;
  return seconds + Number((parts[2] ?? "").padEnd(6, "0").slice(0, 6));
}

/** With microseconds, UTC: what the API takes. */
export function rfc3339(us: number): string {
  const ms = Math.floor(us / 1000);
  const micros = String(us - ms * 1000).padStart(3, "0");
  return new Date(ms).toISOString().replace("Z", `${micros}Z`);
}

const two = (n: number) => (n < 10 ? `0${n}` : String(n));

interface Parts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

function parts(us: number, zone: Zone): Parts {
  const date = new Date(Math.floor(us / 1000));
  return zone === "utc"
    ? {
        year: date.getUTCFullYear(),
        month: date.getUTCMonth() + 1,
        day: date.getUTCDate(),
        hour: date.getUTCHours(),
        minute: date.getUTCMinutes(),
        second: date.getUTCSeconds(),
      }
    : {
        year: date.getFullYear(),
        month: date.getMonth() + 1,
        day: date.getDate(),
        hour: date.getHours(),
        minute: date.getMinutes(),
        second: date.getSeconds(),
      };
}

/** `06:00:02.500`. */
export function clock(us: number, zone: Zone): string {
  const { hour, minute, second } = parts(us, zone);
  const ms = String(Math.floor((us % 1e6) / 1000)).padStart(3, "0");
  return `${two(hour)}:${two(minute)}:${two(second)}.${ms}`;
}

/** `11-21 06:00:02.500`: where a list goes back to another day. */
export function dated(us: number, zone: Zone): string {
  return `${day(us, zone).slice(5)} ${clock(us, zone)}`;
}

/** `2026-11-21`. */
export function day(us: number, zone: Zone): string {
  const { year, month, day } = parts(us, zone);
  return `${year}-${two(month)}-${two(day)}`;
}

/** `2026-11-21 06:00:02`. */
export function moment(us: number, zone: Zone): string {
  return `${day(us, zone)} ${clock(us, zone).slice(0, 8)}`;
}

/** `2026-11-21 06:00:02.500000 UTC`: everything that is known of it. */
export function exact(us: number, zone: Zone): string {
  const micros = String(us % 1e6).padStart(6, "0");
  return `${moment(us, zone)}.${micros} ${offset(us, zone)}`;
}

/** `UTC` or `UTC+02:00`: that of the time itself, which a summer may change. */
export function offset(us: number, zone: Zone): string {
  if (zone === "utc") return "UTC";
  const minutes = -new Date(Math.floor(us / 1000)).getTimezoneOffset();
  if (minutes === 0) return "UTC+00:00";
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** `12 s ago`, `3 min ago`, `2 h ago`, `5 d ago`; `in 3 min` for what is to come. */
export function ago(us: number, nowUs: number): string {
  const seconds = Math.round((nowUs - us) / 1e6);
  const size = span(Math.abs(seconds));
  if (Math.abs(seconds) < 1) return "now";
  return seconds < 0 ? `in ${size}` : `${size} ago`;
}

/** A length of time by its largest unit. */
export function span(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const RELATIVE = /^-(\d+)([smhdw])$/;
const UNIT_US: Record<string, number> = { s: 1e6, m: 60e6, h: 3600e6, d: 86400e6, w: 604800e6 };

/** What `from` and `to` in an address mean: RFC 3339, `now`, `-15m`. NaN for what is none. */
export function instant(text: string, nowUs: number): number {
  if (text === "now") return nowUs;
  const relative = RELATIVE.exec(text);
  if (relative) return nowUs - Number(relative[1]) * (UNIT_US[relative[2] ?? ""] ?? Number.NaN);
  return parseUs(text);
}

/** As far as a time can be written with four digits of a year. */
const LATEST_US = 253_402_300_799_999_999;
const written = (us: number) => (us >= 0 && us <= LATEST_US ? us : Number.NaN);

/**
 * What somebody types or pastes to jump to: RFC 3339, `2026-11-21 06:00`, `06:00:02` of today, `-15m`, and a time as this page writes it
 * (`2026-11-21 06:00:02.500000 UTC+01:00`). NaN for what is none.
 */
export function typed(text: string, nowUs: number, zone: Zone): number {
  const trimmed = text.trim().replace(/(\d),(\d)/, "$1.$2");
  const [, local, ahead] = /^(.+?) ?UTC([+-]\d\d:\d\d)?$/.exec(trimmed) ?? [];
  if (local !== undefined) return written(parseUs(`${local.replace(" ", "T")}${ahead ?? "Z"}`));
  const known = instant(trimmed, nowUs);
  if (!Number.isNaN(known)) return written(known);
  const parts = /^(?:(\d{4}-\d\d-\d\d)[ T])?(\d\d?):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?$/.exec(trimmed);
  const only = /^(\d{4}-\d\d-\d\d)$/.exec(trimmed);
  const date = parts?.[1] ?? only?.[1] ?? (parts ? day(nowUs, zone) : undefined);
  // A day that its month does not have would be one of the next month.
  if (!date || day(Date.parse(`${date}T00:00:00Z`) * 1000, "utc") !== date) return Number.NaN;
  const time = parts ? `${parts[2]!.padStart(2, "0")}:${parts[3]}:${parts[4] ?? "00"}` : "00:00:00";
  const seconds = Date.parse(`${date}T${time}${zone === "utc" ? "Z" : ""}`) * 1000;
  return seconds + Number((parts?.[5] ?? "").padEnd(6, "0").slice(0, 6));
}

/** As `typed`, of what has been: `23:50` just after midnight is of yesterday. */
export function typedPast(text: string, nowUs: number, zone: Zone): number {
  const us = typed(text, nowUs, zone);
  if (!/^\s*\d\d?:/.test(text) || !(us > nowUs)) return us;
  const before = parts(nowUs, zone);
  const yesterday = zone === "utc" ? Date.UTC(before.year, before.month - 1, before.day - 1, 12) : new Date(before.year, before.month - 1, before.day - 1, 12).getTime();
  return typed(`${day(yesterday * 1000, zone)} ${text.trim()}`, nowUs, zone);
}

export function nowUs(): number {
  return Date.now() * 1000;
}
