import { assertEquals, assertStringIncludes } from "@std/assert";

/** Runs an example without permissions. */
async function run(name: string): Promise<string> {
  const script = new URL(`../../examples/${name}`, import.meta.url);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", script.href],
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(code, 0);
  return new TextDecoder().decode(stdout);
}

Deno.test("examples/record.ts records the runs of its log", async () => {
  const text = await run("record.ts");
  const labels = 'lane="batch",pipeline_name="import"';
  for (
    const sample of [
      `pipeline_total{${labels},status="timeout"} 1`,
      `pipeline_duration_seconds_sum{${labels},status="timeout"} 5.55`,
      `stage_total{${labels},stage_name="store",outcome="timeout"} 1`,
      `stage_duration_seconds_sum{${labels},stage_name="download",outcome="success"} 0.48`,
    ]
  ) {
    assertStringIncludes(text, `\nlukhas_orchestration_${sample}\n`);
  }
});

Deno.test("examples/custom_registry.ts serves its own and the library's metrics", async () => {
  const text = await run("custom_registry.ts");
  const labels =
    'lane="canary",pipeline_name="invoices",stage_name="send",outcome="success"';
  for (
    const sample of [
      'billing_queue_size{service="billing"} 0',
      `billing_stage_total{${labels},service="billing"} 2`,
      `billing_stage_duration_seconds_bucket{${labels},le="60.0",service="billing"} 2`,
    ]
  ) {
    assertStringIncludes(text, `\n${sample}\n`);
  }
});

Deno.test("examples/decorator.ts measures methods", async () => {
  const text = await run("decorator.ts");
  const labels = 'lane="production",pipeline_name="checkout"';
  for (
    const line of [
      "tea and gold: There is no gold",
      `lukhas_orchestration_pipeline_total{${labels},status="success"} 1`,
      `lukhas_orchestration_pipeline_total{${labels},status="failure"} 1`,
      `lukhas_orchestration_stage_total{${labels},stage_name="price",outcome="success"} 3`,
      `lukhas_orchestration_stage_total{${labels},stage_name="price",outcome="failure"} 1`,
      `lukhas_orchestration_stage_total{${labels},stage_name="sum",outcome="success"} 1`,
    ]
  ) {
    assertStringIncludes(text, `\n${line}\n`);
  }
});

Deno.test("examples/README.md lists every example", async () => {
  const folder = new URL("../../examples/", import.meta.url);
  const files = [];
  for (const subfolder of ["", "servers/", "tracing/", "workers/"]) {
    for await (const entry of Deno.readDir(new URL(subfolder, folder))) {
      if (/\.[jt]s$/.test(entry.name)) files.push(`${subfolder}${entry.name}`);
    }
  }
  const index = await Deno.readTextFile(new URL("README.md", folder));
  const links = [...index.matchAll(/^\| \[(.+?)\]\((.+?)\)/gm)];
  assertEquals(
    links.map(([, text, target]) => {
      assertEquals(text, target);
      return target;
    }).sort(),
    ["demo/main.ts", ...files].sort(),
  );
});
