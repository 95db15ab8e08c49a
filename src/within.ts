import { attentiveTimeout } from "./attentive_timeout.ts";

/** What a promise gives within so many milliseconds, else `undefined`. */
export async function within<T>(
  promise: Promise<T>,
  milliseconds: number,
): Promise<T | undefined> {
  if (milliseconds === Infinity) return await promise;
  let stop: () => void;
  const timeout = new Promise<undefined>((resolve) => {
    stop = attentiveTimeout(() => resolve(undefined), milliseconds);
  });
  return await Promise.race([promise, timeout]).finally(() => stop());
}
