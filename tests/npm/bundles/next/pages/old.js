import { pipeline, stage } from "@lukhas/stage-metrics";

export async function getServerSideProps() {
  const text = await pipeline(
    "old_page",
    () => stage("load", () => Promise.resolve("old page")),
  );
  return { props: { text } };
}

export default function Page({ text }) {
  return text;
}
