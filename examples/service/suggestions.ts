/** Questions to try, by what they show. */
export interface Suggestions {
  readonly Ask: string;
  readonly [kind: string]: string;
}

/** Questions about this repository. */
export const REPOSITORY_QUESTIONS: Suggestions = {
  Ask: "which permissions does the library need",
  Exactly: 'what is "the async context"',
  Compare: "difference between a stage and a pipeline",
  "In one file": "which permissions in README.md",
};
