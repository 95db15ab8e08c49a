/** Follows signals, to be called when one aborts. */
export interface Follower {
  onAbort(signal: AbortSignal): void;
}

interface Followed {
  readonly followers: Set<Follower>;
  readonly listener: () => void;
}

/**
 * One listener for each signal, however many scopes follow it: Node warns of more
 * than ten, and signals made by `AbortSignal.any` pile up on one that lives long.
 */
const followed = new WeakMap<AbortSignal, Followed>();

/**
 * Calls a follower when a signal aborts, until it is unfollowed.
 *
 * @throws The error of a signal that cannot be listened to, as a frozen one in Deno.
 */
export function follow(signal: AbortSignal, follower: Follower): void {
  const known = followed.get(signal);
  if (known !== undefined) {
    known.followers.add(follower);
    return;
  }
  const followers = new Set([follower]);
  const listener = () => {
    // The last ones to follow are the innermost: they come first.
    for (const each of [...followers].reverse()) {
      // One that was called before may have ended others.
      if (followers.has(each)) each.onAbort(signal);
    }
  };
  signal.addEventListener("abort", listener, { once: true });
  // A signal that calls back at once may have ended the follower already.
  followed.set(signal, { followers, listener });
}

/**
 * Calls a follower no more; the last one takes the listener along.
 *
 * @throws The error of a signal that keeps the listener.
 */
export function unfollow(signal: AbortSignal, follower: Follower): void {
  const entry = followed.get(signal);
  if (entry === undefined) return;
  entry.followers.delete(follower);
  if (entry.followers.size > 0) return;
  // First, so that the next one to follow is listened for, whatever the signal does.
  followed.delete(signal);
  signal.removeEventListener("abort", entry.listener);
}

/** Returns the reason of an aborted signal, or the error that reading it throws. */
export function reasonOf(signal: AbortSignal): unknown {
  try {
    return signal.reason;
  } catch (error) {
    return error;
  }
}
