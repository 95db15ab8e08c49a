/**
 * Measures the methods of a class with decorators.
 *
 * Run:     deno run examples/decorator.ts
 *
 * @module
 */
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";

class Shop {
  readonly #prices = new Map([["tea", 3], ["milk", 2]]);

  @pipeline("checkout")
  async checkout(items: readonly string[]): Promise<number> {
    const prices = await Promise.all(items.map((item) => this.price(item)));
    return this.sum(prices);
  }

  @stage("price")
  price(item: string): Promise<number> {
    const price = this.#prices.get(item);
    return price === undefined
      ? Promise.reject(new RangeError(`There is no ${item}`))
      : Promise.resolve(price);
  }

  @stage("sum")
  sum(prices: readonly number[]): number {
    return prices.reduce((sum, price) => sum + price, 0);
  }
}

const shop = new Shop();
console.log("tea and milk:", await shop.checkout(["tea", "milk"]));
await shop.checkout(["tea", "gold"]).catch(({ message }) =>
  console.log("tea and gold:", message)
);

const response = await metricsHandler()(
  new Request("http://localhost/metrics"),
);
console.log(await response.text());
