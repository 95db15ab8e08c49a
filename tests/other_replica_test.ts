import { OtherReplica, type OtherTelling } from "../src/other_replica.ts";
import { type GatheredFamily, GatheredSample } from "../src/samples.ts";
import { assert, assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";

function family(
  name: string,
  samples: readonly GatheredSample[],
): GatheredFamily {
  return { name, help: "Help", type: "counter", aggregator: "sum", samples };
}

/** The samples as text, in no order. */
function samplesOf(replica: OtherReplica): string[] {
  return replica.families().flatMap(({ samples }) =>
    samples.map(({ name, labels, value, exemplar }) =>
      JSON.stringify([name, labels, String(value), exemplar])
    )
  ).sort();
}

/** Returns the tellings as another thread receives them. */
async function send(
  tellings: readonly OtherTelling[],
  ...replicas: OtherReplica[]
): Promise<void> {
  for (const replica of replicas) {
    (await replica.prepare(JSON.parse(JSON.stringify(tellings))))();
  }
}

Deno.test("OtherReplica equals that of another thread as samples come and go", async () => {
  const [own, other] = [new OtherReplica(), new OtherReplica()];
  let seed = 1;
  const random = (limit: number) => {
    seed = seed * 48_271 % 0x7fffffff;
    return seed % limit;
  };
  const sample = (id: number) => {
    const labels = random(2) === 0
      ? { id: `${id}`, le: random(3) }
      : { id: `${id}` };
    const value = [random(5), NaN, -Infinity][Math.max(0, random(8) - 5)]!;
    const exemplar = random(4) === 0
      ? { labelSet: { id: `${random(3)}` }, value, timestamp: random(3) }
      : undefined;
    return new GatheredSample(`m${random(2)}`, labels, value, exemplar);
  };
  for (let round = 0; round < 60; round++) {
    const families = ["a", "b", "c"].filter(() => random(5) > 0).map((name) => {
      const samples = new Map<string, GatheredSample>();
      for (let i = random(600); i > 0; i--) {
        const each = sample(random(400));
        samples.set(each.key, each);
      }
      return family(name, [...samples.values()]);
    });
    await send(await own.changes(families), own, other);
    const expected = samplesOf(OtherReplica.of(families));
    assertEquals(samplesOf(own), expected);
    assertEquals(samplesOf(other), expected);
    const newcomer = new OtherReplica();
    await send([...other.everything()], newcomer);
    assertEquals(samplesOf(newcomer), expected);
    assertEquals(await own.changes(families), []);
  }
});

Deno.test("OtherReplica applies changes at once after reading them in slices", async () => {
  const replica = new OtherReplica();
  const families = (value: number) => [
    family(
      "a",
      Array.from(
        { length: 5000 },
        (_, i) => new GatheredSample("a", { i: `${i}` }, value),
      ),
    ),
  ];
  await send(await replica.changes(families(1)), replica);
  const tellings = await replica.changes(families(2));
  let commit: (() => void) | undefined;
  const preparing = replica.prepare(tellings).then((fn) => commit = fn);
  const valuesOf = () =>
    new Set(replica.families()[0]!.samples.map(({ value }) => value));
  let turns = 0;
  while (commit === undefined) {
    assertEquals([...valuesOf()], [1]);
    turns++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await preparing;
  commit();
  assertEquals([...valuesOf()], [2]);
  assert(turns > 5, `${turns}`);
});
