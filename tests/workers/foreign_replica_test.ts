import { assert, assertEquals, assertRejects } from "@std/assert";
import { setImmediate } from "node:timers";
import { type MetricFamily, Sample } from "../../src/exposition/model.ts";
import {
  type ForeignDelta,
  ForeignReplica,
} from "../../src/workers/foreign_replica.ts";
import { InvalidMessage } from "../../src/workers/invalid_message.ts";

function family(
  name: string,
  samples: readonly Sample[],
  type = "gauge",
): MetricFamily {
  return { name, help: "Help", type, aggregator: "sum", samples };
}

/** Returns the samples as sorted strings. */
function samplesOf(replica: ForeignReplica): string[] {
  return replica.families().flatMap(({ samples }) =>
    samples.map(({ name, labels, value, exemplar }) =>
      JSON.stringify([name, labels, String(value), exemplar])
    )
  ).sort();
}

/** Applies deltas to replicas, as threads receive them. */
async function send(
  deltas: readonly ForeignDelta[],
  ...replicas: ForeignReplica[]
): Promise<void> {
  for (const replica of replicas) {
    (await replica.prepare(JSON.parse(JSON.stringify(deltas))))();
  }
}

Deno.test("ForeignReplica stays equal in two threads as samples are added and removed", async () => {
  const [own, other] = [new ForeignReplica(), new ForeignReplica()];
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
    return new Sample(`m${random(2)}`, labels, value, exemplar);
  };
  for (let round = 0; round < 60; round++) {
    const families = ["a", "b", "c"].filter(() => random(5) > 0).map((name) => {
      const samples = new Map<string, Sample>();
      for (let i = random(600); i > 0; i--) {
        const each = sample(random(400));
        samples.set(each.key, each);
      }
      return family(name, [...samples.values()]);
    });
    await send(await own.diff(families), own, other);
    const expected = samplesOf(ForeignReplica.of(families));
    assertEquals(samplesOf(own), expected);
    assertEquals(samplesOf(other), expected);
    const late = new ForeignReplica();
    await send([...other.fullState()], late);
    assertEquals(samplesOf(late), expected);
    assertEquals(await own.diff(families), []);
  }
});

Deno.test("ForeignReplica.prepare() reads in slices, and applies all changes at once", async () => {
  const replica = new ForeignReplica();
  const families = (value: number) => [
    family(
      "a",
      Array.from(
        { length: 5000 },
        (_, i) => new Sample("a", { i: `${i}` }, value),
      ),
    ),
  ];
  await send(await replica.diff(families(1)), replica);
  const deltas = await replica.diff(families(2));
  let commit: (() => void) | undefined;
  const preparing = replica.prepare(deltas).then((fn) => commit = fn);
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

Deno.test("ForeignReplica keeps a count when it receives a negative or invalid value", async () => {
  const negatives: [type: string, suffix: string][] = [
    ["counter", ""],
    ["histogram", "_bucket"],
    ["histogram", "_count"],
  ];
  for (const [type, suffix] of negatives) {
    const [own, other] = [new ForeignReplica(), new ForeignReplica()];
    const families = (value: number) => [
      family("a", [new Sample(`a${suffix}`, {}, value)], type),
    ];
    await send(await own.diff(families(3)), own, other);
    for (const value of [-1, NaN, -Infinity]) {
      await send(await own.diff(families(value)), other);
    }
    assertEquals(
      samplesOf(other),
      samplesOf(ForeignReplica.of(families(3))),
      suffix,
    );
  }
});

Deno.test("ForeignReplica.prepare() rejects a slot that is out of range", async () => {
  const replica = new ForeignReplica();
  await send(
    await replica.diff([family("a", [new Sample("a", {}, 1)])]),
    replica,
  );
  const [delta] = replica.fullState();
  const { changes } = delta!;
  for (const slot of [2, 4e8, 2 ** 32]) {
    const [[, ...rest]] = changes as [(typeof changes)[number]];
    await assertRejects(
      () => replica.prepare([{ ...delta!, changes: [[slot, ...rest]] }]),
      InvalidMessage,
      `sample slot ${slot} is out of range`,
    );
  }
});

Deno.test("ForeignReplica.fullState() keeps the slots of removed samples", async () => {
  const [own, other] = [new ForeignReplica(), new ForeignReplica()];
  const samples = [1, 2, 3]
    .map((i) => new Sample("a", { i: `${i}` }, i));
  await send(await own.diff([family("a", samples)]), own);
  await send(await own.diff([family("a", samples.slice(2))]), own);
  await send([...own.fullState()], other);
  assertEquals(samplesOf(other), samplesOf(own));
  const back = await own.diff([family("a", samples)]);
  await send(back, own, other);
  assertEquals(samplesOf(other), samplesOf(own));
});

Deno.test("ForeignReplica.merge() uses the description of the newest part", async () => {
  const sample = (value: number) => [new Sample("a", {}, value)];
  const described = (value: number, type: string, aggregator: string) => ({
    replica: ForeignReplica.of([
      { ...family("a", sample(value), type), help: aggregator, aggregator },
    ]),
    isAlive: true,
    age: 1,
  });
  const own = { ...described(5, "counter", "sum"), age: 0 };
  const conflicts: string[] = [];
  const [merged, ...others] = await ForeignReplica.merge([
    described(-9, "gauge", "sum"),
    described(1, "counter", "min"),
    described(2, "counter", "freshest"),
    own,
  ], ({ type }) => {
    conflicts.push(type);
  });
  assertEquals(others, []);
  const { type, aggregator, help, samples } = merged!;
  assertEquals({ type, aggregator, help, value: samples[0]?.value }, {
    type: "counter",
    aggregator: "sum",
    help: "sum",
    value: 8,
  });
  assertEquals(conflicts, ["gauge"]);
});
