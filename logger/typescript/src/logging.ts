// What the loggers of a process share: levels, the output, how a line looks. The environment says of it what its owner says in a cluster.

import { isatty } from "node:tty";
import { prettier } from "./console";
import { Delivery, type Limits } from "./delivery";
import { NONE, over, type Made } from "./fields";
import { requestFields, type HeadersLike } from "./headers";
import { Levels, levelNumber, LevelError } from "./levels";
import { Logger, type LoggerOptions } from "./logger";
import { FileOutput, type Output } from "./output";
import { timestamp } from "./time";

export interface LoggingOptions {
  /** Where the variables are read; `process.env` unless said. */
  env?: Record<string, string | undefined>;
  /** Where lines go; standard output unless said. */
  output?: Output;
  /** Bounds of what waits. */
  limits?: Partial<Limits>;
  /** `json` or `console`, before what the environment says. */
  format?: "json" | "console";
}

export class Logging {
  readonly levels = new Levels();
  readonly delivery: Delivery;
  /** Fields of the process: environment, version, region. */
  readonly made: Made;
  readonly #env: Record<string, string | undefined>;
  readonly #pretty: ((line: string) => string) | undefined;
  readonly #services = new Set<string>();
  #first: Logger | undefined;

  constructor(options: LoggingOptions = {}) {
    const env = (this.#env = options.env ?? process.env);
    this.#configure("CORDWOOD_LEVEL");
    this.levels.setScopes(this.#isOn("CORDWOOD_SCOPES"));
    this.made = over(NONE, {
      environment: env.CORDWOOD_ENV || undefined,
      version: env.CORDWOOD_VERSION || undefined,
      region: env.CORDWOOD_REGION || undefined,
    });
    const isConsole = (options.format ?? formatOf(env)) === "console";
    // Who looks at a console wants to see a line when it is written.
    const limits = options.limits ?? (isConsole ? { records: 1 } : {});
    const records = this.#number("CORDWOOD_BUFFER_RECORDS", 1, 10_000);
    const waitMs = this.#number("CORDWOOD_BUFFER_MS", 0, 60_000);
    const said = { ...(records === undefined ? {} : { records }), ...(waitMs === undefined ? {} : { waitMs }), ...(waitMs === 0 ? { records: 1 } : {}) };
    this.delivery = new Delivery(options.output ?? new FileOutput(1), (dropped, count) => this.#told(dropped, count), { ...limits, ...said });
    this.#pretty = isConsole ? prettier(isatty(1) && !env.NO_COLOR) : undefined;
  }

  #isOn(variable: string): boolean {
    const said = (this.#env[variable] ?? "").trim().toLowerCase();
    if (!["", "0", "1", "true", "false"].includes(said)) complain(`${variable}=${said}: must be 1 or 0`);
    return said === "1" || said === "true";
  }

  #number(variable: string, least: number, most: number): number | undefined {
    const said = (this.#env[variable] ?? "").trim();
    if (said === "") return undefined;
    const number = /^[0-9]{1,9}$/.test(said) ? Number(said) : -1;
    if (number >= least && number <= most) return number;
    complain(`${variable}=${said}: must be a number from ${least} to ${most}`);
    return undefined;
  }

  #configure(variable: string, service?: string): void {
    const wrong = this.levels.configure(this.#env[variable] ?? "", service);
    if (wrong.length > 0) complain(`${variable}: cannot read '${wrong.join(",")}': levels are trace, debug, info, warn, error, off`);
  }

  /** A logger of a service; of CORDWOOD_SERVICE when it names none. */
  createLogger(service?: string, options: LoggerOptions = {}): Logger {
    const of = service || this.#env.CORDWOOD_SERVICE || "app";
    if (!this.#services.has(of)) {
      this.#services.add(of);
      this.levels.service ??= of;
      const variable = `CORDWOOD_LEVEL_${of.toUpperCase().replace(/[^A-Z0-9]/g, "_")}`;
      if (this.#env[variable]?.trim()) this.#configure(variable, of);
    }
    const level = options.level === undefined ? undefined : levelNumber(options.level);
    if (options.level !== undefined && level === undefined) throw new LevelError(`unknown level '${options.level}'`);
    const name = options.name ?? of;
    const made = over(over(NONE, { service: of, logger: name }), options.fields ?? {});
    const logger = new Logger(this, { service: of, name, made, caller: options.caller ?? this.#isOn("CORDWOOD_LOCATION"), level });
    this.#first ??= logger;
    return logger;
  }

  /** A logger of one request, of the process's first logger unless another is given. */
  createRequestLogger(from: HeadersLike, logger: Logger = this.first): Logger {
    return logger.child(requestFields(from));
  }

  get first(): Logger {
    return this.#first ?? this.createLogger();
  }

  /** @internal */
  take(rank: number, line: string): void {
    this.delivery.push(rank, this.#pretty === undefined ? line : this.#pretty(line));
  }

  #told(dropped: Record<string, number>, count: number): string {
    const service = this.levels.service ?? "app";
    const fields = { service, logger: "cordwood.logger", dropped };
    const members = JSON.stringify(fields).slice(1);
    const line = `{"timestamp":"${timestamp(Date.now())}","level":"WARN","message":"${count} records dropped: the output stalled",${members}\n`;
    return this.#pretty === undefined ? line : this.#pretty(line);
  }

  flush(): boolean {
    return this.delivery.flush();
  }
}

function formatOf(env: Record<string, string | undefined>): "json" | "console" {
  const said = (env.CORDWOOD_FORMAT ?? "").trim().toLowerCase();
  if (said === "json" || said === "console") return said;
  if (said !== "") complain(`CORDWOOD_FORMAT=${said}: must be json or console`);
  if (env.CORDWOOD_ENV === "production") return "json";
  return env.CORDWOOD_ENV === "development" || isatty(1) ? "console" : "json";
}

/** One line on standard error, if it takes one. */
export function complain(what: string): void {
  const output = new FileOutput(2);
  output.write(Buffer.from(`cordwood-logger: ${what}\n`));
  output.close();
}
