/**
 * How a pipeline or a stage ended.
 *
 * It is the value of the label `status` of pipelines and `outcome` of stages.
 */
export type Outcome = "success" | "failure" | "timeout";

/** An outcome as a label value: any other value is recorded as `unknown`. */
export type OutcomeLabel = Outcome | "unknown";

/** Every outcome that a label can hold. */
export const OUTCOME_LABELS: readonly OutcomeLabel[] = [
  "success",
  "failure",
  "timeout",
  "unknown",
];

/** Reads an error as an outcome; `undefined` leaves it to the next in line. */
export type ErrorClassifier = (error: unknown) => Outcome | undefined;

/** Reads a value as an outcome; `undefined` means `success`. */
export type ResultClassifier = {
  // As a method, it also accepts functions whose parameter has a narrower type,
  // such as the type of the value that a certain stage returns.
  classify(value: unknown): Outcome | undefined;
}["classify"];

/** How many errors deep a chain of causes is followed. */
const MAX_DEPTH = 16;

/** How many errors of a chain are read, and how many of an `AggregateError`. */
const MAX_ERRORS = 1_000;

/** How many classes up an error's inheritance is followed. */
const MAX_CLASSES = 16;

/** The properties by which an error refers to another that it wraps. */
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

/** An error as the rules see it. */
interface ErrorProperties {
  /** Its `name` and `_tag`, and the names of its class and superclasses. */
  readonly names: readonly string[];
  /** Its `code` and `errno`, where they are strings: Bun's SQLSTATE is `errno`. */
  readonly codes: readonly string[];
  readonly message: string;
  readonly code: unknown;
  /** Of a child process. */
  readonly timedOut: unknown;
  /** Of gRPC. */
  readonly metadata: unknown;
  /** Of a request by axios. */
  readonly config: unknown;
  /** Of a server's error: in MySQL, in SQL Server and in MongoDB. */
  readonly errno: unknown;
  readonly sqlState: unknown;
  readonly number: unknown;
  readonly codeName: unknown;
}

/** Names of errors and of their classes. */
const TIMEOUT_NAME = anyOf(
  // The web platform and most libraries; Effect 3 and the AWS SDK end in Exception.
  // See https://webidl.spec.whatwg.org/#timeouterror
  /Timeout(?:Error|Exception)$/,
  // Deno, and cassandra-driver.
  // See https://docs.deno.com/api/deno/~/Deno.errors.TimedOut
  /TimedOut(?:Error)?$/,
  // The AWS SDK: a service's answer.
  /^RequestTimeout$/,
);

/** Codes that only timeouts have. */
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

/** The end of PostgreSQL's messages about timeouts, also after the words of an ORM. */
const SQL_TIMEOUT = /\bdue to (?:[a-z-]+ )?timeout$/;

/** Codes that timeouts share with other errors, by the message of a timeout. */
const CODES_WITH_MESSAGES: ReadonlyMap<string, RegExp> = new Map([
  // axios and superagent. Node has this code for connections that were aborted.
  // See https://axios-http.com/docs/handling_errors
  ["ECONNABORTED", /time(?:d )?out/i],
  // PostgreSQL: a user's cancel and NOWAIT have these codes, too.
  // See https://www.postgresql.org/docs/current/errcodes-appendix.html
  ["57014", SQL_TIMEOUT],
  ["55P03", SQL_TIMEOUT],
  // Prisma's interactive transactions.
  // See https://www.prisma.io/docs/orm/reference/error-reference#p2028
  ["P2028", /\btimeout\b|in the given time/],
]);

/**
 * Messages of errors that nothing else tells from others. ORMs put a statement or a
 * class before a driver's message, so the end must match.
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
 * Names of errors of the MongoDB server.
 *
 * @see https://www.mongodb.com/docs/manual/reference/error-codes/
 */
const MONGODB_TIMEOUT =
  /^(?:MaxTimeMSExpired|(?:NetworkInterface)?ExceededTimeLimit|NetworkTimeout|LockTimeout)$/;

/** Error numbers: MySQL's of a lock and of a statement, MariaDB's of a statement. */
const MYSQL_TIMEOUTS: readonly unknown[] = [1205, 3024, 1969];

/** SQL Server's error number. */
const SQL_SERVER_LOCK_TIMEOUT = 1222;

/** The status code of gRPC and Connect. */
const DEADLINE_EXCEEDED = 4;

/** The rules by any of which an error is a timeout, whatever it wraps. */
const RULES: readonly ((properties: ErrorProperties) => boolean)[] = [
  ({ names }) => names.some((name) => TIMEOUT_NAME.test(name)),
  ({ codes }) => codes.some((code) => TIMEOUT_CODE.test(code)),
  ({ codes, message }) =>
    codes.some((code) => CODES_WITH_MESSAGES.get(code)?.test(message) ?? false),
  ({ message }) => TIMEOUT_MESSAGE.test(message),
  // execa. Node's execFile() leaves the same error after a timeout and a kill().
  // See https://github.com/sindresorhus/execa/blob/main/docs/api.md#errortimedout
  ({ timedOut }) => timedOut === true,
  // axios, with a message that its user has set.
  ({ code, message, config }) =>
    code === "ECONNABORTED" && message === get(config, "timeoutErrorMessage"),
  // grpc-js, grpc-web, nice-grpc and Connect. Other libraries use a code 4, too.
  // See https://grpc.io/docs/guides/status-codes/
  ({ code, metadata, message }) =>
    code === DEADLINE_EXCEEDED &&
    (isObject(metadata) || /deadline[ _]exceeded/i.test(message)),
  // MongoDB: the server's error, and the driver's when it finds no server in time.
  ({ codeName, names, message }) =>
    isString(codeName) && MONGODB_TIMEOUT.test(codeName) ||
    names.includes("MongoServerSelectionError") &&
      /\btimed out after\b/.test(message),
  // MySQL and MariaDB, in drivers that do not know the name of the number.
  // See https://mariadb.com/kb/en/mariadb-error-code-reference/
  ({ sqlState, errno }) => isString(sqlState) && MYSQL_TIMEOUTS.includes(errno),
  // tedious and mssql: the timeout of a lock.
  // See https://learn.microsoft.com/sql/relational-databases/errors-events/mssqlserver-1222-database-engine-error
  ({ code, number }) =>
    code === "EREQUEST" && number === SQL_SERVER_LOCK_TIMEOUT,
];

/** Whether an error is a timeout by itself, and the errors that it wraps. */
interface ErrorReading {
  readonly isTimeout: boolean;
  /** The error is a timeout if one of these is. */
  readonly any: readonly object[];
  /** The error is a timeout if there are some and all of them are. */
  readonly all: readonly object[];
}

const AGGREGATE = "AggregateError";

/** Errors of cancelled work, which may have a reason. The second is of axios. */
const ABORT_NAMES: readonly string[] = ["AbortError", "CanceledError"];

const UNREADABLE: ErrorReading = { isTimeout: false, any: [], all: [] };

/**
 * Reads an error as an outcome: `timeout` if it is one, otherwise `failure`.
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
 * without a timeout is a failure, and so is an error whose properties throw.
 *
 * @param error The value that was thrown, or that a promise rejected with.
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
  return isObject(error) && isTimeout(error) ? "timeout" : "failure";
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

/** Returns the errors that are timeouts themselves or by an error they wrap. */
function findTimeouts(
  readings: ReadonlyMap<object, ErrorReading>,
): Set<object> {
  const timeouts = new Set<object>();
  const isKnown = (error: object) => timeouts.has(error);
  // Deepest first, so that a tree takes one round. Cycles may take more.
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

/** Reads an error. Each property is read once, as it may be a getter with effects. */
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
    return { isTimeout: false, any: any.filter(isObject), all };
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
    // Node gives an AggregateError the code of the first of its errors.
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

/** Returns the names of an error's class and of the classes that it extends. */
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

/** Returns the errors of an `AggregateError`, or none if some cannot be timeouts. */
function errorsOf(errors: unknown): object[] {
  if (!Array.isArray(errors) || errors.length > MAX_ERRORS) return [];
  // Holes are read too, and no iterator of the array's own.
  const all = Array.from(
    { length: errors.length },
    (_, i): unknown => errors[i],
  );
  return all.every(isObject) ? all : [];
}

function get(from: unknown, key: PropertyKey): unknown {
  return isObject(from) ? Reflect.get(from, key) : undefined;
}

/** Returns a pattern that matches where one of some patterns does. */
function anyOf(...patterns: readonly RegExp[]): RegExp {
  return new RegExp(patterns.map(({ source }) => source).join("|"));
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}
