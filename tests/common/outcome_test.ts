import { assertEquals } from "@std/assert";
import { classifyError } from "../../mod.ts";

const timeout = new DOMException("Signal timed out", "TimeoutError");

Deno.test("classifyError() returns timeout for the error of AbortSignal.timeout()", async () => {
  const signal = AbortSignal.timeout(1);
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  assertEquals(classifyError(signal.reason), "timeout");
});

Deno.test("classifyError() returns failure for a plain cancellation", () => {
  assertEquals(classifyError(AbortSignal.abort().reason), "failure");
});

Deno.test("classifyError() returns timeout for an AbortError caused by a timeout", () => {
  const abort = (more: object) =>
    Object.assign(new Error("Aborted"), { name: "AbortError" }, more);
  assertEquals(classifyError(abort({ reason: timeout })), "timeout");
  assertEquals(classifyError(abort({ cause: timeout })), "timeout");
  assertEquals(classifyError(abort({ reason: new Error("Bye") })), "failure");
  assertEquals(
    classifyError(Object.assign(new Error("Odd"), { reason: timeout })),
    "failure",
    "a reason counts only for an AbortError",
  );
});

Deno.test("classifyError() returns timeout for names that end in TimeoutError", () => {
  class QueryTimeoutError extends Error {
    override name = "QueryTimeoutError";
  }
  assertEquals(classifyError(new QueryTimeoutError()), "timeout");
  assertEquals(classifyError({ name: "TimeoutError" }), "timeout");
  assertEquals(classifyError({ name: "TimeoutErrorHandler" }), "failure");
});

Deno.test("classifyError() returns timeout for the well-known codes", () => {
  for (
    const code of [
      "ETIMEDOUT",
      "ESOCKETTIMEDOUT",
      "UND_ERR_CONNECT_TIMEOUT",
      "UND_ERR_HEADERS_TIMEOUT",
      "UND_ERR_BODY_TIMEOUT",
    ]
  ) {
    assertEquals(
      classifyError(Object.assign(new Error(), { code })),
      "timeout",
      code,
    );
  }
  for (const code of ["ECONNRESET", "UND_ERR_ABORTED", "XETIMEDOUT", 110]) {
    assertEquals(
      classifyError(Object.assign(new Error(), { code })),
      "failure",
      String(code),
    );
  }
});

Deno.test("classifyError() follows causes to a limit, and survives cycles", () => {
  const wrap = (error: unknown, times: number): unknown =>
    times === 0 ? error : new Error("Outer", { cause: wrap(error, times - 1) });
  assertEquals(classifyError(wrap(timeout, 15)), "timeout");
  assertEquals(classifyError(wrap(timeout, 16)), "failure");

  const a = new Error("a");
  const b = new Error("b", { cause: a });
  a.cause = b;
  assertEquals(classifyError(a), "failure");
});

Deno.test("classifyError() reads each error once, even if it occurs several times", () => {
  let reads = 0;
  let error: unknown = new DOMException("Too late", "TimeoutError");
  for (let i = 0; i < 15; i++) {
    const errors = Array(10).fill(error);
    error = {
      get name() {
        reads++;
        return "AggregateError";
      },
      errors,
    };
  }
  assertEquals(classifyError(error), "timeout");
  assertEquals(reads, 15);
});

Deno.test("classifyError() returns timeout for an AggregateError of timeouts only", async () => {
  const all = await Promise.any([
    Promise.reject(timeout),
    Promise.reject(new Error("Outer", { cause: timeout })),
  ]).catch((error) => error);
  assertEquals(classifyError(all), "timeout");
  assertEquals(
    classifyError(new AggregateError([timeout, new Error("Other")])),
    "failure",
  );
  assertEquals(classifyError(new AggregateError([])), "failure");

  const cyclic = new AggregateError([]);
  cyclic.errors.push(cyclic, cyclic, timeout);
  assertEquals(classifyError(cyclic), "failure");
});

Deno.test("classifyError() returns failure for everything else", () => {
  const throwing = new Proxy({}, {
    get() {
      throw new Error("Not to be touched");
    },
  });
  for (
    const value of [undefined, null, 0, "TimeoutError", Symbol("x"), throwing]
  ) {
    assertEquals(classifyError(value), "failure");
  }
  assertEquals(classifyError(Object.freeze({ cause: timeout })), "timeout");
});

/** Returns an error with properties. */
function errorWith(properties: object, message = "Oops"): Error {
  return Object.assign(new Error(message), properties);
}

function assertOutcomes(
  outcome: "timeout" | "failure",
  errors: Record<string, unknown>,
): void {
  for (const [name, error] of Object.entries(errors)) {
    assertEquals(classifyError(error), outcome, name);
  }
}

Deno.test("classifyError() also reads the name of an error's class", () => {
  // As in openai, where `name` is "Error", and in node-redis.
  class APIConnectionTimeoutError extends Error {}
  class TimeoutError extends Error {}
  class SocketTimeoutDuringMaintenanceError extends TimeoutError {}
  class Renamed extends TimeoutError {
    override name = "SlowQuery";
  }
  class TimeoutErrorFormatter extends Error {}
  assertOutcomes("timeout", {
    class: new APIConnectionTimeoutError(),
    superclass: new SocketTimeoutDuringMaintenanceError(),
    "superclass of another name": new Renamed(),
    cause: new Error("Outer", { cause: new APIConnectionTimeoutError() }),
  });
  assertOutcomes("failure", {
    "another class": new TimeoutErrorFormatter(),
    "no class": Object.create(null),
    "a class that is not a function": Object.create({
      constructor: "TimeoutError",
    }),
  });
});

Deno.test("classifyError() returns timeout for TimeoutException and TimedOut", () => {
  assertOutcomes("timeout", {
    "Effect 3": { name: "TimeoutException" },
    "Effect 3, of runPromise()": { name: "(FiberFailure) TimeoutException" },
    "AWS SDK": { name: "RequestTimeoutException" },
    "AWS SDK, by S3": { name: "RequestTimeout" },
    Deno: { name: "TimedOut" },
    "cassandra-driver": { name: "OperationTimedOutError" },
    "tagged value": { _tag: "TimeoutException" },
  });
  assertOutcomes("failure", {
    "in the middle": { name: "TimeoutExceptionMapper" },
    setting: { name: "InvalidTimeout" },
  });
});

Deno.test("classifyError() reads ECONNABORTED together with its message", () => {
  const code = "ECONNABORTED";
  const config = { timeoutErrorMessage: "Too slow" };
  assertOutcomes("timeout", {
    axios: errorWith({ code }, "timeout of 50ms exceeded"),
    superagent: errorWith({ code }, "Response timeout of 50ms exceeded"),
    "axios, by its user's text": errorWith({ code, config }, "Too slow"),
  });
  assertOutcomes("failure", {
    "axios in browsers": errorWith({ code, config }, "Request aborted"),
    "Node's socket": errorWith({ code }, "write ECONNABORTED"),
    "another code": errorWith({ code: "ECONNRESET", config }, "Too slow"),
    "no text": { code },
  });
});

Deno.test("classifyError() reads the signal's reason of an axios cancellation", () => {
  const canceled = (reason: unknown) =>
    errorWith({
      name: "CanceledError",
      code: "ERR_CANCELED",
      config: { signal: AbortSignal.abort(reason) },
    }, "canceled");
  assertEquals(classifyError(canceled(timeout)), "timeout");
  assertEquals(classifyError(canceled(undefined)), "failure");
  const { config } = canceled(timeout) as Error & { config?: unknown };
  assertEquals(
    classifyError(errorWith({ config })),
    "failure",
    "not cancelled",
  );
});

Deno.test("classifyError() returns timeout for DEADLINE_EXCEEDED of gRPC and Connect", () => {
  const metadata = { internalRepr: new Map() };
  assertOutcomes("timeout", {
    "grpc-js": errorWith(
      { code: 4, details: "Deadline exceeded", metadata },
      "4 DEADLINE_EXCEEDED: Deadline exceeded after 0.05s",
    ),
    "grpc-js, waitForReady()": new Error(
      "Failed to connect before the deadline",
    ),
    "grpc-web": errorWith({ name: "RpcError", code: 4, metadata: {} }),
    "nice-grpc": errorWith(
      { name: "ClientError", code: 4, details: "" },
      "/a.A/b DEADLINE_EXCEEDED: ",
    ),
    Connect: errorWith(
      { name: "ConnectError", code: 4, details: [] },
      "[deadline_exceeded] the operation timed out",
    ),
    "gRPC-Gateway": {
      code: 4,
      message: "context deadline exceeded",
      details: [],
    },
    "protobuf-ts": errorWith({ name: "RpcError", code: "DEADLINE_EXCEEDED" }),
    Twirp: errorWith({ code: "deadline_exceeded" }),
    Firebase: errorWith({ code: "functions/deadline-exceeded" }),
  });
  assertOutcomes("failure", {
    "another status": errorWith(
      { code: 1, metadata },
      "1 CANCELLED: Cancelled",
    ),
    "another 4": errorWith({ code: 4 }, "MEDIA_ERR_SRC_NOT_SUPPORTED"),
    MongoDB: errorWith({ code: 4, codeName: "NoSuchKey" }),
    Connect: errorWith({ name: "ConnectError", code: 1, metadata }),
    "a string": errorWith({ code: "4", metadata }),
  });
});

Deno.test("classifyError() returns timeout for PostgreSQL's timeouts, not for a cancel", () => {
  const statement = "canceling statement due to statement timeout";
  const lock = "canceling statement due to lock timeout";
  const cancel = "canceling statement due to user request";
  assertOutcomes("timeout", {
    "statement_timeout": errorWith({ code: "57014" }, statement),
    "lock_timeout": errorWith({ code: "55P03" }, lock),
    "authentication_timeout": errorWith(
      { code: "57014" },
      "canceling authentication due to timeout",
    ),
    "idle_in_transaction_session_timeout": errorWith({ code: "25P03" }),
    "transaction_timeout": errorWith({ code: "25P04" }),
    "idle_session_timeout": errorWith({ code: "57P05" }),
    "knex, with the statement as a prefix": errorWith(
      { code: "57014" },
      `select pg_sleep(1) - ${statement}`,
    ),
    "deno-postgres": errorWith({
      fields: { code: "57014", message: statement },
    }),
    "Bun": errorWith(
      { code: "ERR_POSTGRES_SERVER_ERROR", errno: "57014" },
      statement,
    ),
    "CockroachDB": errorWith(
      { code: "57014" },
      "query execution canceled due to statement timeout",
    ),
    "postgres, to connect": errorWith({ code: "CONNECT_TIMEOUT" }),
    "pg, query_timeout": new Error("Query read timeout"),
    "pg, to connect": new Error("timeout expired"),
    "pg, its pool is full": new Error(
      "timeout exceeded when trying to connect",
    ),
    "pg, its pool connects": new Error(
      "Connection terminated due to connection timeout",
    ),
    "pg, by knex": new Error("select pg_sleep(1) - Query read timeout"),
    "pg, by TypeORM": new Error("Error: Query read timeout"),
  });
  assertOutcomes("failure", {
    cancel: errorWith({ code: "57014" }, cancel),
    "cancel of a statement with such a text": errorWith(
      { code: "57014" },
      `select '${statement}' - ${cancel}`,
    ),
    NOWAIT: errorWith(
      { code: "55P03" },
      'could not obtain lock on relation "accounts"',
    ),
    shutdown: errorWith(
      { code: "57P01" },
      "terminating connection due to administrator command",
    ),
    "another code": errorWith({ code: "P0001" }, statement),
    "Bun, cancel": errorWith(
      { code: "ERR_POSTGRES_SERVER_ERROR", errno: "57014" },
      cancel,
    ),
    "another text": new Error("Invalid setting: Query read timeout = -1"),
  });
});

Deno.test("classifyError() returns timeout for the timeouts of other databases", () => {
  assertOutcomes("timeout", {
    "MySQL, lock": errorWith({ code: "ER_LOCK_WAIT_TIMEOUT", errno: 1205 }),
    "MySQL, statement": errorWith({ code: "ER_QUERY_TIMEOUT", errno: 3024 }),
    "mysql2": errorWith({ code: "PROTOCOL_SEQUENCE_TIMEOUT" }),
    "MariaDB": errorWith({ code: "ER_STATEMENT_TIMEOUT", errno: 1969 }),
    "mariadb, its pool": errorWith({ code: "ER_GET_CONNECTION_TIMEOUT" }),
    // The driver has no names for MariaDB's own numbers.
    "MariaDB by mysql2": errorWith(
      { code: "UNKNOWN_CODE_PLEASE_REPORT", errno: 1969, sqlState: "70100" },
    ),
    "MySQL by mariadb": errorWith({ errno: 3024, sqlState: "HY000" }),
    "MySQL by Bun": errorWith(
      { code: "ERR_MYSQL_SERVER_ERROR", errno: 1205, sqlState: "HY000" },
    ),
    "SQL Server": errorWith({ code: "ETIMEOUT", name: "RequestError" }),
    "SQL Server, lock": errorWith({ code: "EREQUEST", number: 1222 }),
    "MongoDB, maxTimeMS": errorWith({ code: 50, codeName: "MaxTimeMSExpired" }),
    "MongoDB, no server": errorWith(
      { name: "MongoServerSelectionError" },
      "Server selection timed out after 30000 ms",
    ),
    "MongoDB, network": errorWith({ name: "MongoNetworkTimeoutError" }),
    "MongoDB, pool": errorWith({
      codeName: "NetworkInterfaceExceededTimeLimit",
    }),
    "MongoDB, limit": errorWith({ code: 262, codeName: "ExceededTimeLimit" }),
    "MongoDB, node": errorWith({ code: 89, codeName: "NetworkTimeout" }),
    "MongoDB, lock": errorWith({ code: 24, codeName: "LockTimeout" }),
    "ioredis": new Error("Command timed out"),
    "Bun's Redis": errorWith({ code: "ERR_REDIS_CONNECTION_TIMEOUT" }),
    "RabbitMQ": new Error("connect ETIMEDOUT"),
    "Oracle, pool": errorWith({ code: "NJS-040" }),
    "Oracle, call": errorWith({ code: "NJS-123" }),
    "Oracle, call in thick mode": errorWith({ code: "DPI-1067" }),
    "Oracle, connection": errorWith({ code: "NJS-510" }),
    "Prisma, connection": errorWith({ code: "P1002" }),
    "Prisma, operation": errorWith({ code: "P1008" }),
    "Prisma, pool": errorWith({ code: "P2024" }),
    "Prisma, transaction": errorWith(
      { code: "P2028" },
      "Transaction API error: Unable to start a transaction in the given time.",
    ),
    "SQLite with timed locks": errorWith({ code: "SQLITE_BUSY_TIMEOUT" }),
  });
  assertOutcomes("failure", {
    "MySQL, KILL QUERY": errorWith(
      { code: "ER_QUERY_INTERRUPTED", errno: 1317, sqlState: "70100" },
    ),
    "MySQL, NOWAIT": errorWith({ code: "ER_LOCK_NOWAIT", errno: 3572 }),
    "MariaDB, setting": errorWith({ code: "ER_TIMEOUT_NOT_SUPPORTED" }),
    "another number": errorWith({ errno: 1205 }),
    "SQL Server's number in another error": errorWith({ number: 1222 }),
    "SQL Server, deadlock": errorWith({ code: "EREQUEST", number: 1205 }),
    "SQL Server, cancel": errorWith({ code: "ECANCEL" }),
    "MongoDB, killOp": errorWith({ code: 11601, codeName: "Interrupted" }),
    "MongoDB, no server": errorWith(
      { name: "MongoServerSelectionError" },
      "connect ECONNREFUSED 127.0.0.1:27017",
    ),
    "ioredis, setting": new Error("Command timed out must be a number"),
    "Prisma, transaction": errorWith(
      { code: "P2028" },
      "Transaction API error: Transaction not found.",
    ),
    // Possibly without any wait.
    "SQLite": errorWith({ code: "SQLITE_BUSY" }, "database is locked"),
  });
});

Deno.test("classifyError() returns timeout for a child process that timed out", () => {
  const killed = { killed: true, signal: "SIGTERM", code: null };
  assertOutcomes("timeout", {
    execa: errorWith({ timedOut: true, signal: "SIGTERM" }),
    "execFileSync()": errorWith({ code: "ETIMEDOUT", errno: -110 }),
  });
  assertOutcomes("failure", {
    "execa, killed": errorWith({ timedOut: false, signal: "SIGTERM" }),
    "not a boolean": errorWith({ timedOut: "false" }),
    // A timeout and `kill()` cause the same error.
    "execFile()": errorWith(killed, "Command failed: sleep 5"),
  });
});

Deno.test("classifyError() returns timeout for the codes of Node, Bun and RPC", () => {
  const errorOf = (code: string) => ({ [code]: errorWith({ code }) });
  assertOutcomes("timeout", {
    ...errorOf("ERR_SOCKET_CONNECTION_TIMEOUT"),
    ...errorOf("ERR_SCRIPT_EXECUTION_TIMEOUT"),
    ...errorOf("ERR_TLS_HANDSHAKE_TIMEOUT"),
    ...errorOf("ERR_POSTGRES_IDLE_TIMEOUT"),
    ...errorOf("ETIMEOUT"),
    ...errorOf("TIMEOUT"),
  });
  assertOutcomes("failure", {
    ...errorOf("ERR_INVALID_ARG_VALUE"),
    ...errorOf("ERR_TIMEOUT_RANGE"),
    ...errorOf("INVALID_TIMEOUT"),
    ...errorOf("constructor"),
  });
});

Deno.test("classifyError() follows the properties in which libraries wrap errors", () => {
  const fiberFailure = (cause: object) =>
    errorWith({
      name: "(FiberFailure) Error",
      [Symbol.for("effect/Runtime/FiberFailure/Cause")]: cause,
    });
  const fail = { _tag: "Fail", error: errorWith({ code: "ETIMEDOUT" }) };
  const interrupt = { _tag: "Interrupt", fiberId: {} };
  assertOutcomes("timeout", {
    Sequelize: errorWith({ parent: timeout, original: timeout }),
    "mssql, GraphQL": errorWith({ originalError: timeout }),
    TypeORM: errorWith({ driverError: timeout }),
    "SuppressedError, by disposal": errorWith(
      {
        name: "SuppressedError",
        error: timeout,
        suppressed: new Error("Other"),
      },
    ),
    "SuppressedError, by its code": errorWith(
      {
        name: "SuppressedError",
        error: new Error("Other"),
        suppressed: timeout,
      },
    ),
    "event": { type: "error", error: timeout },
    "Effect 3": fiberFailure(fail),
    "Effect 3, of a defect": fiberFailure({ _tag: "Die", defect: timeout }),
    "Effect 3, of two fibers": fiberFailure(
      { _tag: "Parallel", left: interrupt, right: fail },
    ),
    "Effect 3, of two fibers in turn": fiberFailure(
      { _tag: "Sequential", left: fail, right: interrupt },
    ),
    "several": errorWith({
      cause: errorWith({ original: errorWith({ suppressed: timeout }) }),
    }),
  });
  assertOutcomes("failure", {
    Sequelize: errorWith({ original: new Error("Other") }),
    "Effect 3": fiberFailure(interrupt),
    "another link": errorWith({ previous: timeout }),
    "a response body": errorWith({ error: { message: "timeout", code: 504 } }),
  });
});

Deno.test("classifyError() reads the errors of a subclass of AggregateError", () => {
  class BatchError extends AggregateError {
    override name = "BatchError";
  }
  assertEquals(classifyError(new BatchError([timeout])), "timeout");
  assertEquals(
    classifyError(new BatchError([timeout, new Error("Other")])),
    "failure",
  );
  assertEquals(
    classifyError(errorWith({ errors: [timeout] })),
    "failure",
    "errors count only for an AggregateError",
  );
});

Deno.test("classifyError() ignores the code that an AggregateError has in Node", () => {
  // The error of Node's sockets after trying all addresses of a host.
  const connect = (...codes: string[]) =>
    Object.assign(
      new AggregateError(codes.map((code) => errorWith({ code }))),
      { code: codes[0] },
    );
  assertEquals(classifyError(connect("ETIMEDOUT", "ETIMEDOUT")), "timeout");
  assertEquals(classifyError(connect("ETIMEDOUT", "ECONNREFUSED")), "failure");
});

Deno.test("classifyError() accepts values in an AggregateError that are not errors", () => {
  const withErrors = (errors: unknown) =>
    Object.assign(new AggregateError([]), { errors });
  assertOutcomes("failure", {
    holes: withErrors(new Array(3)),
    "a value that is not an error": withErrors([timeout, "TimeoutError"]),
    "not an array": withErrors({ 0: timeout, length: 1 }),
    "too many": withErrors(Array(1_001).fill(timeout)),
    "array that throws": withErrors(
      new Proxy([timeout], {
        get() {
          throw new Error("Not to be touched");
        },
      }),
    ),
  });
  const endless = Object.assign([timeout], {
    *[Symbol.iterator]() {
      while (true) yield timeout;
    },
  });
  assertEquals(classifyError(withErrors(endless)), "timeout");
});

Deno.test("classifyError() finds a timeout in any order of wrapped errors", () => {
  // `a` and `b` are causes of each other.
  const a = errorWith({ name: "a" });
  const b = new Error("b", { cause: a });
  Object.assign(a, { cause: b, original: timeout });
  assertEquals(classifyError(new AggregateError([a, b])), "timeout");

  // The long path to `shared` ends before its cause, the short path does not.
  const shared = new Error("shared", { cause: timeout });
  let error = shared;
  for (let i = 0; i < 15; i++) error = new Error("Outer", { cause: error });
  assertEquals(classifyError(error), "failure", "by the long path");
  assertEquals(
    classifyError(errorWith({ cause: error, original: shared })),
    "timeout",
  );
});

Deno.test("classifyError() reads a limited number of errors, each once", () => {
  const reads = new Map<object, number>();
  const tree = (depth: number): object => {
    const error = {
      get message() {
        reads.set(error, (reads.get(error) ?? 0) + 1);
        return "Oops";
      },
      get cause() {
        return depth === 0 ? undefined : tree(depth - 1);
      },
      get original() {
        return depth === 0 ? undefined : tree(depth - 1);
      },
    };
    return error;
  };
  assertEquals(classifyError(tree(20)), "failure");
  assertEquals(reads.size, 1_000);
  assertEquals(new Set(reads.values()), new Set([1]));
});

Deno.test("classifyError() skips an error that cannot be read", () => {
  const broken = {
    get code() {
      throw new Error("Not to be touched");
    },
  };
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  assertEquals(classifyError(errorWith({ cause: broken })), "failure");
  assertEquals(classifyError(errorWith({ cause: proxy })), "failure");
  assertEquals(
    classifyError(errorWith({ suppressed: broken, error: timeout })),
    "timeout",
  );
});

Deno.test("classifyError() reads a limited number of an error's classes", () => {
  let reads = 0;
  const endless: object = new Proxy({}, {
    getPrototypeOf() {
      reads++;
      return endless;
    },
  });
  assertEquals(classifyError(endless), "failure");
  assertEquals(reads, 17);
});
