/** Somebody who wants to know when a signal aborts. */
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

/** Tells a follower when a signal aborts, until it is unfollowed. */
export function follow(signal: AbortSignal, follower: Follower): void {
  let entry = followed.get(signal);
  if (entry === undefined) {
    const followers = new Set<Follower>();
    const listener = () => {
      // The last ones to follow are the innermost: they come first.
      for (const each of [...followers].reverse()) {
        // One that was called before may have ended others.
        if (followers.has(each)) each.onAbort(signal);
      }
    };
    entry = { followers, listener };
    followed.set(signal, entry);
    signal.addEventListener("abort", listener, { once: true });
  }
  entry.followers.add(follower);
}

/** Tells a follower no more; the last one takes the listener along. */
export function unfollow(signal: AbortSignal, follower: Follower): void {
  const entry = followed.get(signal)!;
  entry.followers.delete(follower);
  if (entry.followers.size > 0) return;
  signal.removeEventListener("abort", entry.listener);
  followed.delete(signal);
}
