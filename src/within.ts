/** What a promise gives within so many milliseconds, else `undefined`. */
export async function within<T>(
  promise: Promise<T>,
  milliseconds: number,
): Promise<T | undefined> {
  if (milliseconds === Infinity) return await promise;
  let timer: ReturnType<typeof setTimeout>;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), milliseconds);
  });
  return await Promise.race([promise, timeout]).finally(() =>
    clearTimeout(timer)
  );
}
