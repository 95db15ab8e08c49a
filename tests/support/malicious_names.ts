/**
 * Names that try to break recording and exposition.
 *
 * @module
 */

/** Names that are recorded unchanged. */
export const UNCHANGED_NAMES: readonly string[] = [
  '"',
  "\\",
  "\n",
  "\\n",
  "\r\n",
  '\\"',
  'a",stage_name="b',
  // These two would have the same key if their labels were joined.
  "a,stage_name:b",
  "a",
  "b,stage_name:c",
  "a,b:c{d}=e # f",
  "# EOF",
  "{}",
  "} 1\nfake 2",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "\u0000\u0001\u0007\u001b\u007f\u0085",
  "\u2028\u2029",
  "\ufefffirst",
  "\ufffe\uffff",
  "\u200f\u202eltr",
  "é",
  "e\u0301",
  "👩‍🚀",
  " p ",
  " ",
];

/** Names that are recorded changed, with the recorded names. */
export const CHANGED_NAMES: ReadonlyMap<unknown, string> = new Map<
  unknown,
  string
>([
  ["high \ud83d", "high \ufffd"],
  ["low \udc00 and more", "low \ufffd and more"],
  ["\udc00\ud83d", "\ufffd\ufffd"],
  ["m".repeat(2 ** 20), "m".repeat(128)],
  // Half of a surrogate pair is not valid text.
  ["x".repeat(127) + "😀", "x".repeat(127)],
  ["y".repeat(126) + "😀", "y".repeat(126) + "😀"],
  ["", "unknown"],
  [undefined, "unknown"],
  [null, "unknown"],
  [5, "unknown"],
  [5n, "unknown"],
  [true, "unknown"],
  [Symbol("p"), "unknown"],
  [["p"], "unknown"],
  [
    {
      toString() {
        throw new Error("Not to be called");
      },
    },
    "unknown",
  ],
]);
