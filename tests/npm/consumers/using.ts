/** Uses exports that need the type `Disposable`. */
import { definePipeline, openPipeline } from "@lukhas/stage-metrics";

using handle = openPipeline("p");
using declared = definePipeline("p", { stages: { s: {} } }).open();
handle.close();
declared.stage("s", () => {});
