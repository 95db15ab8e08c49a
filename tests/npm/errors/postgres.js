/**
 * Makes PostgreSQL and the libraries for it fail, and prints how `classifyError` reads
 * their errors. The server is at the port in `POSTGRES_PORT`, and empty.
 *
 * @module
 */
import process from "node:process";
import { LIMIT_MS, printOutcomes } from "./outcomes.js";

// Imported dynamically, as static imports would have to be in the import map.
const { default: knex } = await import("knex");
const { default: pg } = await import("pg");
const { default: postgres } = await import("postgres");
const { Sequelize } = await import("sequelize");

const database = {
  host: "127.0.0.1",
  port: Number(process.env.POSTGRES_PORT),
  user: "postgres",
  database: "postgres",
};

/** Connects to PostgreSQL for as long as a function takes. */
async function withClient(options, fn) {
  const client = new pg.Client({ ...database, ...options });
  client.on("error", () => {});
  await client.connect();
  try {
    return await fn(client);
  } finally {
    await client.end();
  }
}

/** Queries a table that another client has locked. */
function queryLocked(table, ...queries) {
  return withClient({}, async (owner) => {
    await owner.query(`CREATE TABLE ${table} (id int)`);
    await owner.query("BEGIN");
    await owner.query(`LOCK TABLE ${table}`);
    return await withClient({}, async (client) => {
      for (const query of queries) await client.query(query);
    });
  });
}

async function withKnex({ connection, ...options }, fn) {
  const db = knex({
    client: "pg",
    connection: { ...database, ...connection },
    // It would print to stdout that the pool is full.
    log: { warn() {} },
    ...options,
  });
  try {
    return await fn(db);
  } finally {
    await db.destroy();
  }
}

/** The longest wait for a connection of a full pool, in milliseconds. */
const CONNECTION_LIMIT_MS = 500;

/** A statement that exceeds every limit. */
const SLEEP = "SELECT pg_sleep(60)";

/** A statement that exceeds the limit of a client, and ends soon after. */
const SHORT_SLEEP = "SELECT pg_sleep(0.2)";

await printOutcomes({
  "pg: statement_timeout": () =>
    withClient(
      { statement_timeout: LIMIT_MS },
      (client) => client.query(SLEEP),
    ),
  "pg: lock_timeout": () =>
    queryLocked(
      "one",
      `SET lock_timeout = ${LIMIT_MS}`,
      "SELECT * FROM one",
    ),
  "pg: NOWAIT": () => queryLocked("two", "BEGIN", "LOCK TABLE two NOWAIT"),
  "pg: query_timeout": () =>
    withClient(
      {},
      (client) => client.query({ text: SHORT_SLEEP, query_timeout: LIMIT_MS }),
    ),
  "pg: pg_cancel_backend()": () =>
    withClient({}, (client) =>
      withClient({}, async (other) => {
        const { rows: [{ pid }] } = await client.query(
          "SELECT pg_backend_pid() AS pid",
        );
        const query = client.query(SLEEP);
        query.catch(() => {});
        for (let done = false; !done;) {
          // It cancels nothing before the statement has begun.
          const { rows } = await other.query(
            "SELECT pg_cancel_backend(pid) AS done FROM pg_stat_activity " +
              "WHERE pid = $1 AND wait_event = 'PgSleep'",
            [pid],
          );
          done = rows.length > 0;
        }
        return await query;
      })),
  "pg: full pool": async () => {
    const pool = new pg.Pool({
      ...database,
      max: 1,
      connectionTimeoutMillis: CONNECTION_LIMIT_MS,
    });
    const client = await pool.connect();
    try {
      return await pool.connect();
    } finally {
      client.release();
      await pool.end();
    }
  },
  "postgres: statement_timeout": () => {
    const connection = { statement_timeout: LIMIT_MS };
    const sql = postgres({ ...database, connection });
    return sql.unsafe(SLEEP).finally(() => sql.end());
  },
  "knex: statement_timeout": () =>
    withKnex(
      { connection: { statement_timeout: LIMIT_MS } },
      (db) => db.raw(SLEEP),
    ),
  "knex: query_timeout of pg": () =>
    withKnex(
      { connection: { query_timeout: LIMIT_MS } },
      (db) => db.raw(SHORT_SLEEP),
    ),
  "knex: timeout()": () =>
    withKnex({}, (db) => db.raw(SHORT_SLEEP).timeout(LIMIT_MS)),
  "knex: full pool": () =>
    withKnex(
      {
        pool: { min: 0, max: 1 },
        acquireConnectionTimeout: CONNECTION_LIMIT_MS,
      },
      (db) => db.transaction(() => db.raw("SELECT 1")),
    ),
  "sequelize: statement_timeout": async () => {
    const sequelize = new Sequelize({
      ...database,
      username: database.user,
      dialect: "postgres",
      dialectOptions: { statement_timeout: LIMIT_MS },
      logging: false,
    });
    try {
      return await sequelize.query(SLEEP);
    } finally {
      await sequelize.close();
    }
  },
  ...globalThis.Bun && {
    "Bun.SQL: statement_timeout": async () => {
      const { host: hostname, user: username, ...others } = database;
      const sql = new Bun.SQL({
        adapter: "postgres",
        hostname,
        username,
        ...others,
        max: 1,
      });
      await sql.unsafe(`SET statement_timeout = ${LIMIT_MS}`);
      return await sql.unsafe(SLEEP).finally(() => sql.close());
    },
  },
});
