/**
 * Runs a PostgreSQL server for a test. It comes with Debian's package `postgresql`.
 *
 * @module
 */
import { freePort } from "../support/ports.ts";
import { eventually } from "../support/wait.ts";
import { Unavailable } from "./install.ts";

/** Where Debian installs each of PostgreSQL's versions. */
const VERSIONS = "/usr/lib/postgresql";

/** A server that listens on a port of the loopback interface. */
export interface Postgres extends AsyncDisposable {
  readonly port: number;
}

/**
 * Returns the folder of the newest version's programs.
 *
 * @throws {Unavailable} If PostgreSQL is not installed.
 */
export async function findPostgres(): Promise<string> {
  try {
    const versions = await Array.fromAsync(Deno.readDir(VERSIONS));
    const newest = Math.max(...versions.map(({ name }) => Number(name)));
    const programs = `${VERSIONS}/${newest}/bin`;
    await Deno.stat(`${programs}/initdb`);
    return programs;
  } catch {
    throw new Unavailable("PostgreSQL is not installed");
  }
}

/**
 * Starts a server with an empty database, which is deleted when it is stopped.
 *
 * @param programs The folder of PostgreSQL's programs.
 */
export async function startPostgres(programs: string): Promise<Postgres> {
  const folder = await Deno.makeTempDir({ prefix: "postgres" });
  // The server runs as another user, and creates a folder in this one.
  await Deno.chmod(folder, 0o777);
  const data = `${folder}/data`;
  const initdb = unprivileged(
    `${programs}/initdb`,
    `--pgdata=${data}`,
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync",
  );
  const { success, stderr } = await initdb.output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const port = freePort();
  const settings = {
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    fsync: "off",
  };
  const server = unprivileged(
    `${programs}/postgres`,
    "-D",
    data,
    ...Object.entries(settings).flatMap(([name, value]) => [
      "-c",
      `${name}=${value}`,
    ]),
  ).spawn();
  // Read to the end, as a full pipe would block the server.
  const log = new Response(server.stderr).text();
  const stop = async () => {
    server.kill("SIGQUIT");
    await server.status;
    await log;
    await Deno.remove(folder, { recursive: true });
  };
  try {
    // The last line of this file is the server's state.
    await eventually(async () => {
      const state = await Deno.readTextFile(`${data}/postmaster.pid`);
      if (!/^ready *$/m.test(state)) throw new Error(state);
    });
  } catch (error) {
    await stop();
    throw new Error(await log, { cause: error });
  }
  return { port, [Symbol.asyncDispose]: stop };
}

/** Returns a command of PostgreSQL, whose programs refuse to run as root. */
function unprivileged(program: string, ...args: string[]): Deno.Command {
  const unprivilegedUser = [
    "--reuid=nobody",
    "--regid=nogroup",
    "--clear-groups",
  ];
  const isRoot = Deno.uid() === 0;
  return new Deno.Command(isRoot ? "setpriv" : program, {
    args: isRoot ? [...unprivilegedUser, program, ...args] : args,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  });
}
