/** Tests the npm package with the fake timers of real test frameworks. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { bundle } from "./bundle.ts";
import { fetched, installOnce } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import { installBun, installNode } from "./runtimes.ts";

/** The module that all of the frameworks' tests call, once it is bundled. */
const CHECK = "./tests/npm/consumers/fake_timers.js";

const VITEST = `
  import { checkFakeTimers } from "${CHECK}";
  import { test, vi } from "vitest";

  test("fake timers", () => checkFakeTimers({
    install: () => vi.useFakeTimers(),
    advance: (milliseconds) => vi.advanceTimersByTime(milliseconds),
    uninstall: () => vi.useRealTimers(),
  }));
`;

const JEST = `
  import { jest } from "@jest/globals";
  import { checkFakeTimers } from "${CHECK}";

  test("fake timers", () => checkFakeTimers({
    install: () => jest.useFakeTimers(),
    advance: (milliseconds) => jest.advanceTimersByTime(milliseconds),
    uninstall: () => jest.useRealTimers(),
  }));
`;

interface Framework {
  readonly name: string;
  readonly packages: readonly string[];
  readonly runtime?: "bun";
  /** The name of the file that the code is written to. */
  readonly file: string;
  readonly code: string;
  /** The arguments of the runtime. */
  readonly args: readonly string[];
}

const FRAMEWORKS: readonly Framework[] = [
  ...[2, 3, 4].map((major) => ({
    name: `Vitest ${major}`,
    packages: [`vitest@${major}`],
    file: "fake.test.js",
    code: VITEST,
    args: [
      "node_modules/vitest/vitest.mjs",
      "run",
      "--disable-console-intercept",
      "fake.test.js",
    ],
  })),
  {
    name: "Jest",
    packages: ["jest@30"],
    file: "fake.test.js",
    code: JEST,
    args: [
      "--experimental-vm-modules",
      "node_modules/jest/bin/jest.js",
      '--config={"transform":{},"testMatch":["**/fake.test.js"]}',
      "--runInBand",
    ],
  },
  {
    name: "Sinon",
    packages: ["@sinonjs/fake-timers@15"],
    file: "fake.js",
    code: `
      import { install } from "@sinonjs/fake-timers";
      import { checkFakeTimers } from "${CHECK}";

      let clock;
      await checkFakeTimers({
        install: () => clock = install(),
        advance: (milliseconds) => clock.tick(milliseconds),
        uninstall: () => clock.uninstall(),
      });
    `,
    args: ["fake.js"],
  },
  {
    name: "node:test",
    packages: ["prom-client@15"],
    file: "fake.js",
    code: `
      import { checkFakeTimers } from "${CHECK}";
      import { mock } from "node:test";

      await checkFakeTimers({
        install: () => mock.timers.enable(),
        advance: (milliseconds) => mock.timers.tick(milliseconds),
        uninstall: () => mock.timers.reset(),
      });
    `,
    args: ["fake.js"],
  },
  {
    name: "bun:test",
    packages: ["prom-client@15"],
    runtime: "bun",
    file: "fake.test.js",
    code: JEST.replace("@jest/globals", "bun:test")
      .replace("jest }", "jest, test }"),
    args: ["test", "./fake.test.js"],
  },
];

async function installProject(framework: Framework, tarball: string) {
  const { name, packages, file, code, runtime } = framework;
  const folder = await installOnce(
    `fake-timers-${name.toLowerCase().replace(/\W/g, "-")}`,
    packages,
  );
  await installPackage(folder, tarball);
  await bundle(folder, ["npm/consumers/fake_timers.ts"]);
  await Deno.writeTextFile(`${folder}/${file}`, code);
  const { binary } = await (runtime === "bun" ? installBun() : installNode(24));
  return { folder, binary };
}

const tarball = await pack();

for (const framework of FRAMEWORKS) {
  const { name, args } = framework;
  const tests = `durations with the fake timers of ${name}`;
  const project = await fetched(tests, installProject(framework, tarball));
  Deno.test({
    name: `stage() follows the fake timers of ${name}`,
    ignore: project === undefined,
    async fn() {
      const { folder, binary } = project!;
      const { code, stdout, stderr } = await new Deno.Command(binary, {
        args: [...args],
        cwd: folder,
        env: { NO_COLOR: "1" },
      }).output();
      const decoder = new TextDecoder();
      const output = decoder.decode(stdout) + decoder.decode(stderr);
      assertStringIncludes(output, "durations follow the fake timers");
      assertEquals(code, 0, output);
    },
  });
}
