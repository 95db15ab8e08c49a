/** What to try, as commands that can be pasted as they are. */
export function help({ origin }: URL): string {
  return `Ask:     curl '${origin}/ask?q=which+permissions+does+the+library+need'
Exactly: curl '${origin}/ask?q=what+is+%22the+async+context%22'
Compare: curl '${origin}/ask?q=difference+between+a+stage+and+a+pipeline'
One:     curl '${origin}/ask?q=which+permissions+in+README.md'
Metrics: curl ${origin}/metrics
`;
}

/** What the service says once it is listening. */
export function greeting(url: string, files: number, question: string): string {
  const noun = files === 1 ? "file" : "files";
  const query = encodeURIComponent(question).replaceAll("%20", "+")
    .replaceAll("'", "%27");
  return `Answering from ${files} Markdown ${noun} on ${url}

Ask it something, and see how it went about it:
  curl '${url}/ask?q=${query}'
  curl ${url}/metrics

More to ask: curl ${url}`;
}
