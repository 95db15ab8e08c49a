/**
 * How a pipeline or a stage ended: the value of the label `status` of pipelines and
 * `outcome` of stages.
 */
export type Outcome = "success" | "failure" | "timeout";

/** The value of an outcome label: `unknown` for invalid outcomes. */
export type OutcomeLabel = Outcome | "unknown";

/** All values of an outcome label. */
export const OUTCOME_LABELS: readonly OutcomeLabel[] = [
  "success",
  "failure",
  "timeout",
  "unknown",
];

/** Classifies an error. `undefined` leaves it to the next classifier. */
export type ErrorClassifier = (error: unknown) => Outcome | undefined;

/** Classifies a returned value. `undefined` leaves it to the next classifier. */
export type ResultClassifier = {
  // The type of a method also accepts functions whose parameter has a narrower type,
  // such as the return type of a certain stage.
  classify(value: unknown): Outcome | undefined;
}["classify"];

/** The maximum depth of a chain of causes. */
const MAX_DEPTH = 16;

/** The maximum number of errors read in a chain, and in an `AggregateError`. */
const MAX_ERRORS = 1_000;

/** The maximum number of classes read in an error's prototype chain. */
const MAX_CLASSES = 16;

/** The properties that hold a wrapped error. */
const LINKS = [
  "cause",
  // SuppressedError, and error events.
  "error",
  "suppressed",
  // Sequelize, mssql and GraphQL, TypeORM: errors of database drivers.
  "original",
  "originalError",
  "driverError",
  // deno-postgres: the server's error.
  "fields",
  // Effect 3: the error of `runPromise()`, and the nodes of its `Cause`.
  Symbol.for("effect/Runtime/FiberFailure/Cause"),
  "defect",
  "left",
  "right",
] as const;

/** The properties of an error that the rules read. */
interface ErrorProperties {
  /** The `name` and `_tag`, and the names of the class and its superclasses. */
  readonly names: readonly string[];
  /** The `code` and `errno` that are strings. Bun sets `errno` to the SQLSTATE. */
  readonly codes: readonly string[];
  readonly message: string;
  readonly code: unknown;
  /** Set for a child process. */
  readonly timedOut: unknown;
  /** Set by gRPC. */
  readonly metadata: unknown;
  /** Set by axios. */
  readonly config: unknown;
  // Set for errors of MySQL, SQL Server and MongoDB.
  readonly errno: unknown;
  readonly sqlState: unknown;
  readonly number: unknown;
  readonly codeName: unknown;
}

/** Matches the names of timeouts and of their classes. */
const TIMEOUT_NAME = anyOf(
  // The web platform and most libraries; Effect 3 and the AWS SDK end in Exception.
  // See https://webidl.spec.whatwg.org/#timeouterror
  /Timeout(?:Error|Exception)$/,
  // Deno, and cassandra-driver.
  // See https://docs.deno.com/api/deno/~/Deno.errors.TimedOut
  /TimedOut(?:Error)?$/,
  // The AWS SDK, for a service's response.
  /^RequestTimeout$/,
);

/** Matches the codes that only timeouts have. */
const TIMEOUT_CODE = anyOf(
  // POSIX, in Node and many libraries; the package request.
  // See https://nodejs.org/api/errors.html#common-system-errors
  /^(?:ETIMEDOUT|ESOCKETTIMEDOUT)$/,
  // DNS in Node; tedious, the driver for SQL Server.
  // See https://nodejs.org/api/dns.html#error-codes
  /^ETIMEOUT$/,
  // undici; Node and Bun; the MySQL and MariaDB servers and their drivers.
  // See https://github.com/nodejs/undici/blob/main/docs/docs/api/Errors.md,
  // https://nodejs.org/api/errors.html#nodejs-error-codes and
  // https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
  /^(?:UND_ERR|ERR|ER|PROTOCOL)_\w+_TIMEOUT$/,
  // The package postgres; tRPC and ethers; SQLite built with blocking locks.
  // See https://sqlite.org/rescode.html#busy_timeout
  /^(?:CONNECT_TIMEOUT|TIMEOUT|SQLITE_BUSY_TIMEOUT)$/,
  // The name of gRPC's status, in protobuf-ts, Twirp and Firebase.
  // See https://grpc.io/docs/guides/status-codes/
  /^(?:DEADLINE_EXCEEDED|(?:[a-z-]+\/)?deadline[_-]exceeded)$/,
  // PostgreSQL: an idle transaction, a long transaction, an idle session.
  // See https://www.postgresql.org/docs/current/errcodes-appendix.html
  /^(?:25P03|25P04|57P05)$/,
  // Prisma: the database, its operations, its pool.
  // See https://www.prisma.io/docs/orm/reference/error-reference
  /^(?:P1002|P1008|P2024)$/,
  // Oracle's driver: the pool's queue, a call, a connection.
  // See https://docs.oracle.com/error-help/db/
  /^(?:NJS-040|NJS-123|NJS-510|DPI-1067)$/,
);

/** Matches PostgreSQL's messages about timeouts, with or without an ORM's prefix. */
const SQL_TIMEOUT = /\bdue to (?:[a-z-]+ )?timeout$/;

/** The patterns of timeout messages, by codes that other errors also have. */
const CODES_WITH_MESSAGES: ReadonlyMap<string, RegExp> = new Map([
  // axios and superagent. Node uses this code for aborted connections.
  // See https://axios-http.com/docs/handling_errors
  ["ECONNABORTED", /time(?:d )?out/i],
  // PostgreSQL. Cancellation by a user and NOWAIT have these codes, too.
  // See https://www.postgresql.org/docs/current/errcodes-appendix.html
  ["57014", SQL_TIMEOUT],
  ["55P03", SQL_TIMEOUT],
  // Prisma's interactive transactions.
  // See https://www.prisma.io/docs/orm/reference/error-reference#p2028
  ["P2028", /\btimeout\b|in the given time/],
]);

/**
 * Matches the messages of timeouts that have no other distinctive property. ORMs put a
 * statement or a class before a driver's message, so only the end must match.
 */
const TIMEOUT_MESSAGE = new RegExp(
  `(?:^|: | - )(?:${
    [
      // ioredis
      "Command timed out",
      // pg and its pool
      "Query read timeout",
      "timeout expired",
      "timeout exceeded when trying to connect",
      "Connection terminated due to connection timeout",
      // amqplib
      "connect ETIMEDOUT",
      // grpc-js, in `waitForReady()`
      "Failed to connect before the deadline",
    ].join("|")
  })$`,
);

/**
 * Matches the names of timeouts of the MongoDB server.
 *
 * @see https://www.mongodb.com/docs/manual/reference/error-codes/
 */
const MONGODB_TIMEOUT =
  /^(?:MaxTimeMSExpired|(?:NetworkInterface)?ExceededTimeLimit|NetworkTimeout|LockTimeout)$/;

/** Error numbers: MySQL's for a lock and a statement, MariaDB's for a statement. */
const MYSQL_TIMEOUTS: readonly unknown[] = [1205, 3024, 1969];

/** SQL Server's error number for a lock. */
const SQL_SERVER_LOCK_TIMEOUT = 1222;

/** The status code of gRPC and Connect. */
const DEADLINE_EXCEEDED = 4;

/** The rules for timeouts. An error that matches one of them is a timeout. */
const RULES: readonly ((properties: ErrorProperties) => boolean)[] = [
  ({ names }) => names.some((name) => TIMEOUT_NAME.test(name)),
  ({ codes }) => codes.some((code) => TIMEOUT_CODE.test(code)),
  ({ codes, message }) =>
    codes.some((code) => CODES_WITH_MESSAGES.get(code)?.test(message) ?? false),
  ({ message }) => TIMEOUT_MESSAGE.test(message),
  // execa. Node's execFile() has the same error for a timeout and a kill().
  // See https://github.com/sindresorhus/execa/blob/main/docs/api.md#errortimedout
  ({ timedOut }) => timedOut === true,
  // axios, with a message set by its user.
  ({ code, message, config }) =>
    code === "ECONNABORTED" && message === get(config, "timeoutErrorMessage"),
  // grpc-js, grpc-web, nice-grpc and Connect. Other libraries also use a code 4.
  // See https://grpc.io/docs/guides/status-codes/
  ({ code, metadata, message }) =>
    code === DEADLINE_EXCEEDED &&
    (isRecord(metadata) || /deadline[ _]exceeded/i.test(message)),
  // MongoDB: an error of the server, or of a driver that found no server in time.
  ({ codeName, names, message }) =>
    isString(codeName) && MONGODB_TIMEOUT.test(codeName) ||
    names.includes("MongoServerSelectionError") &&
      /\btimed out after\b/.test(message),
  // MySQL and MariaDB, for drivers that have no name for the number.
  // See https://mariadb.com/kb/en/mariadb-error-code-reference/
  ({ sqlState, errno }) => isString(sqlState) && MYSQL_TIMEOUTS.includes(errno),
  // tedious and mssql, for a lock.
  // See https://learn.microsoft.com/sql/relational-databases/errors-events/mssqlserver-1222-database-engine-error
  ({ code, number }) =>
    code === "EREQUEST" && number === SQL_SERVER_LOCK_TIMEOUT,
];

/** The result of reading one error. */
interface ErrorReading {
  /** Whether the error itself is a timeout. */
  readonly isTimeout: boolean;
  /** The wrapped errors. The error is a timeout if one of these is. */
  readonly any: readonly object[];
  /** The aggregated errors. The error is a timeout if there are any and all are. */
  readonly all: readonly object[];
}

/** The name of an error that holds several. */
const AGGREGATE = "AggregateError";

/** The names of cancellation errors, which may have a reason. */
const ABORT_NAMES: readonly string[] = ["AbortError", "CanceledError"];

/** The reading of an error that throws when its properties are read. */
const UNREADABLE: ErrorReading = { isTimeout: false, any: [], all: [] };

/**
 * Classifies an error as `timeout` or `failure`.
 *
 * An error is a timeout if any of these holds:
 *
 * - Its `name`, or the name of its class or a superclass, is or ends in
 *   `TimeoutError`, `TimeoutException` or `TimedOut`. Examples are the errors of
 *   {@linkcode https://dom.spec.whatwg.org/#dom-abortsignal-timeout | AbortSignal.timeout}
 *   and `Deno.errors.TimedOut`.
 * - Its `code` is the code of a timeout, such as `ETIMEDOUT`, `ESOCKETTIMEDOUT` or
 *   `UND_ERR_…_TIMEOUT`, or it is `ECONNABORTED` and the message mentions a timeout.
 * - It is the status `DEADLINE_EXCEEDED` of gRPC or Connect.
 * - It is a statement, lock or connection timeout of PostgreSQL, MySQL, MariaDB, SQL
 *   Server, Oracle, MongoDB or Redis. A statement that a user cancelled is a failure.
 * - Its `timedOut` is `true`, as execa sets it for a child process.
 * - It is an `AbortError` and its `reason` is a timeout.
 * - It wraps a timeout: its `cause`, `original`, `originalError`, `driverError`,
 *   `error` or `suppressed` is one.
 * - It is an `AggregateError` and all of its `errors` are timeouts.
 *
 * Wrapped errors are followed 16 deep, and at most 1,000 are read. A cancellation
 * without a timeout is a failure, and so is an error whose getters throw.
 *
 * @param error The thrown value, or the reason of a rejected promise.
 * @returns `"timeout"` or `"failure"`.
 *
 * @example
 * ```ts
 * import { classifyError } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const late = new DOMException("Signal timed out", "TimeoutError");
 * assertEquals(classifyError(late), "timeout");
 * assertEquals(classifyError(new Error("No answer", { cause: late })), "timeout");
 * assertEquals(classifyError(new TypeError("Not a number")), "failure");
 * ```
 */
export function classifyError(error: unknown): Outcome {
  return isRecord(error) && isTimeout(error) ? "timeout" : "failure";
}

function isTimeout(error: object): boolean {
  const first = read(error);
  if (first.isTimeout) return true;
  if (first.any.length === 0 && first.all.length === 0) return false;
  const readings = new Map([[error, first]]);
  let level = [first];
  for (let depth = 1; depth < MAX_DEPTH && level.length > 0; depth++) {
    const next: ErrorReading[] = [];
    for (const each of level.flatMap(({ any, all }) => [...any, ...all])) {
      if (readings.has(each)) continue;
      if (readings.size === MAX_ERRORS) break;
      const reading = read(each);
      readings.set(each, reading);
      next.push(reading);
    }
    level = next;
  }
  return findTimeouts(readings).has(error);
}

/** Returns the errors that are timeouts, or wrap one. */
function findTimeouts(
  readings: ReadonlyMap<object, ErrorReading>,
): Set<object> {
  const timeouts = new Set<object>();
  const isKnown = (error: object) => timeouts.has(error);
  // Deepest first: without cycles, one round finds all.
  const deepestFirst = [...readings].reverse();
  for (let round = 0; round < MAX_DEPTH; round++) {
    const before = timeouts.size;
    for (const [error, { isTimeout, any, all }] of deepestFirst) {
      if (
        isTimeout || any.some(isKnown) || all.length > 0 && all.every(isKnown)
      ) timeouts.add(error);
    }
    if (timeouts.size === before) break;
  }
  return timeouts;
}

/** Reads an error, each property once: getters may have side effects. */
function read(error: object): ErrorReading {
  try {
    const properties = readProperties(error);
    if (RULES.some((rule) => rule(properties))) {
      return { isTimeout: true, any: [], all: [] };
    }
    const any = LINKS.map((link) => get(error, link));
    if (properties.names.some((name) => ABORT_NAMES.includes(name))) {
      any.push(
        get(error, "reason"),
        get(get(properties.config, "signal"), "reason"),
      );
    }
    const all = properties.names.includes(AGGREGATE)
      ? errorsOf(get(error, "errors"))
      : [];
    return { isTimeout: false, any: any.filter(isRecord), all };
  } catch {
    // A proxy or a getter of the error threw.
    return UNREADABLE;
  }
}

function readProperties(error: object): ErrorProperties {
  // deno-fmt-ignore
  const {
    name, _tag, message, code, errno, sqlState,
    timedOut, metadata, config, number, codeName,
  } = error as Partial<Record<string, unknown>>;
  const names = [name, _tag, ...classNames(error)].filter(isString);
  return {
    names,
    // Node sets the code of an AggregateError to that of its first error.
    codes: names.includes(AGGREGATE) ? [] : [code, errno].filter(isString),
    message: isString(message) ? message : "",
    code,
    timedOut,
    metadata,
    config,
    errno,
    sqlState,
    number,
    codeName,
  };
}

/** Returns the names of an error's class and its superclasses. */
function classNames(error: object): unknown[] {
  const names: unknown[] = [];
  let prototype: object | null = Object.getPrototypeOf(error);
  for (let i = 0; i < MAX_CLASSES && prototype !== null; i++) {
    const constructor = get(prototype, "constructor");
    if (typeof constructor === "function") names.push(constructor.name);
    prototype = Object.getPrototypeOf(prototype);
  }
  return names;
}

/** Returns the errors of an `AggregateError`, or none if one cannot be a timeout. */
function errorsOf(errors: unknown): object[] {
  if (!Array.isArray(errors) || errors.length > MAX_ERRORS) return [];
  // By index: an iterator may be overridden, and `every()` skips holes.
  const all = Array.from(
    { length: errors.length },
    (_, i): unknown => errors[i],
  );
  return all.every(isRecord) ? all : [];
}

/** Returns a property, or `undefined` if the value is not an object. */
function get(from: unknown, key: PropertyKey): unknown {
  return isRecord(from) ? Reflect.get(from, key) : undefined;
}

/** Returns a pattern that matches if one of the patterns matches. */
function anyOf(...patterns: readonly RegExp[]): RegExp {
  return new RegExp(patterns.map(({ source }) => source).join("|"));
}

/** Returns whether a value is an object other than a function. */
function isRecord(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}
