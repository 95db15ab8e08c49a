import { assertEquals } from "@std/assert";
import { UnixTime } from "../../src/common/clock.ts";

Deno.test("UnixTime reads the system time once per second", () => {
  const { now } = Date;
  try {
    const time = new UnixTime();
    Date.now = () => 1_000_000;
    assertEquals(time.of(50), 1000);
    Date.now = () => 2_000_000;
    assertEquals(time.of(50.75), 1000.75);
    assertEquals(time.of(51), 2000);
    assertEquals(time.of(51.5), 2000.5);
    // A user's clock may run backwards.
    Date.now = () => 3_000_000;
    assertEquals(time.of(20), 3000);
  } finally {
    Date.now = now;
  }
});
