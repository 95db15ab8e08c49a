/** Tests how `classifyError` of the npm package reads the errors of real libraries. */
import { assertEquals } from "@std/assert";
import { fetched } from "./install.ts";
import { findPostgres, startPostgres } from "./postgres.ts";
import { installBun, installNode } from "./runtimes.ts";
import { installScripts, runScript } from "./scripts.ts";

const SCRIPTS = new URL("errors/", import.meta.url);

/** Packages for these tests only, so that no other command downloads them. */
const LIBRARIES = [
  "@bufbuild/protobuf@^2.17.0",
  "@connectrpc/connect@^2.1.2",
  "@connectrpc/connect-node@^2.1.2",
  "@grpc/grpc-js@^1.14.7",
  "axios@^1.21.1",
  "effect@^4.1.0",
  "effect-3@npm:effect@^3.22.4",
  "execa@^9.6.1",
  "got@^14.6.6",
  "ioredis@^5.11.1",
  "knex@^3.3.0",
  "ky@^1.14.3",
  "mongodb@^7.9.0",
  "mysql2@^3.24.6",
  "openai@^6.49.0",
  "pg@^8.23.1",
  "postgres@^3.4.9",
  "redis@^6.3.1",
  "sequelize@^6.37.8",
  "superagent@^10.4.2",
];

/** The outcomes of errors, and their code or else their class. */
const LIBRARY_OUTCOMES = {
  "axios: timeout": "timeout ECONNABORTED",
  "axios: timeout with a custom message": "timeout ECONNABORTED",
  "axios: clarified timeout": "timeout ETIMEDOUT",
  "axios: AbortSignal.timeout()": "timeout ERR_CANCELED",
  "axios: cancel": "failure ERR_CANCELED",
  "grpc-js: deadline": "timeout 4",
  "grpc-js: no connection by the deadline": "timeout 4",
  "grpc-js: waitForReady()": "timeout Error",
  "grpc-js: cancel": "failure 1",
  "Connect: deadline": "timeout 4",
  "openai: timeout": "timeout APIConnectionTimeoutError",
  "openai: cancel": "failure APIUserAbortError",
  "got: timeout": "timeout ETIMEDOUT",
  "ky: timeout": "timeout TimeoutError",
  "superagent: timeout": "timeout ECONNABORTED",
  "execa: timeout": "timeout ExecaError",
  "execa: kill": "failure ExecaError",
  "effect: timeout": "timeout TimeoutError",
  "effect: interruption": "failure Error",
  "effect 3: timeout": "timeout FiberFailureImpl",
  "effect 3: timeout of a promise": "timeout FiberFailureImpl",
  "effect 3: interruption": "failure FiberFailureImpl",
  "ioredis: commandTimeout": "timeout Error",
  "redis: socketTimeout": "timeout SocketTimeoutError",
  "mysql2: connectTimeout": "timeout ETIMEDOUT",
  "mongodb: serverSelectionTimeoutMS": "timeout MongoServerSelectionError",
  "pg: connectionTimeoutMillis": "timeout Error",
  "pg: connectionTimeoutMillis of a pool": "timeout Error",
  "postgres: connect_timeout": "timeout CONNECT_TIMEOUT",
};

const POSTGRES_OUTCOMES = {
  "pg: statement_timeout": "timeout 57014",
  "pg: lock_timeout": "timeout 55P03",
  "pg: NOWAIT": "failure 55P03",
  "pg: query_timeout": "timeout Error",
  "pg: pg_cancel_backend()": "failure 57014",
  "pg: full pool": "timeout Error",
  "postgres: statement_timeout": "timeout 57014",
  "knex: statement_timeout": "timeout 57014",
  "knex: query_timeout of pg": "timeout Error",
  "knex: timeout()": "timeout KnexTimeoutError",
  "knex: full pool": "timeout KnexTimeoutError",
  "sequelize: statement_timeout": "timeout DatabaseError",
};

/** The driver that Bun comes with. */
const BUN_OUTCOMES = {
  "Bun.SQL: statement_timeout": "timeout ERR_POSTGRES_SERVER_ERROR",
};

const folder = await fetched(
  "the errors of libraries",
  installScripts("errors", LIBRARIES, SCRIPTS),
);
const postgres = await fetched("the errors of PostgreSQL", findPostgres());

const RUNTIMES = [
  { name: "Node", install: () => installNode(26), added: {} },
  { name: "Bun", install: installBun, added: BUN_OUTCOMES },
];

for (const { name, install, added } of RUNTIMES) {
  const runtime = await fetched(`errors in ${name}`, install());
  const ignore = folder === undefined || runtime === undefined;

  Deno.test({
    name: `classifyError() reads the errors of real libraries in ${name}`,
    ignore,
    async fn() {
      assertEquals(
        await runScript(runtime!, `${folder}/libraries.js`),
        LIBRARY_OUTCOMES,
      );
    },
  });

  Deno.test({
    name: `classifyError() reads the errors of a real PostgreSQL in ${name}`,
    ignore: ignore || postgres === undefined,
    async fn() {
      await using server = await startPostgres(postgres!);
      const env = { POSTGRES_PORT: String(server.port) };
      assertEquals(
        await runScript(runtime!, `${folder}/postgres.js`, env),
        { ...POSTGRES_OUTCOMES, ...added },
      );
    },
  });
}
